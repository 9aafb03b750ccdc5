// The rig's colour: what a hit looks like under its world's sun, sky and fog. Included after rig_core.h.
//
// light_world  puts one world's primitives into its sun's frame and bins them there (Caster, SunTable);
// shade_pixels traces LANES pixels and colours them, one or several rays a pixel.
//
// Every formula here has its twin in tests/rig/rig_reference.py, in float64. Colours are linear RGB until the last step.

namespace mmnav_rig {

#if defined(RIG_ONE_LANE)
typedef unsigned U;
#if defined(__CUDACC__)
RIG_FN F round_down(F x) { return floorf(x); }
#else
RIG_FN F round_down(F x) { return __builtin_floorf(x); }
#endif
RIG_FN I to_int(F x) { return (int)x; }
RIG_FN F to_float(I x) { return (float)x; }
RIG_FN U to_bits(I x) { return (unsigned)x; }
RIG_FN I from_bits(U x) { return (int)x; }
RIG_FN bool any(M m) { return m; }
RIG_FN I lane_numbers() { return 0; }
RIG_FN int at(I x, int) { return x; }
#else
typedef unsigned U __attribute__((vector_size(64)));
RIG_FN F round_down(F x) { return __builtin_elementwise_floor(x); }
RIG_FN I to_int(F x) { return __builtin_convertvector(x, I); }
RIG_FN F to_float(I x) { return __builtin_convertvector(x, F); }
RIG_FN U to_bits(I x) { return (U)x; }
RIG_FN I from_bits(U x) { return (I)x; }
RIG_FN bool any(M m) { return bits_of(m) != 0; }
RIG_FN I lane_numbers() { return I{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}; }
RIG_FN int at(I x, int lane) { return x[lane]; }
#endif

RIG_FN F clamp01(F x) { return smaller(not_below(x, 0.0f), splat(1.0f)); }
RIG_FN F part(F x) { return x - round_down(x); }

// ---------------------------------------------------------------------------------------------------------------
// What a world and its primitives look like; written by mmnav.rig.look
// ---------------------------------------------------------------------------------------------------------------

struct Look {  // one per world: 128 bytes
    Vec sun;                    // unit direction towards it
    Vec sunlight, ambient;      // irradiance of the sun, and of the sky on a level surface
    Vec horizon, zenith;        // the sky's colours
    Vec ground, ground_delta;   // the ground's first colour, and its second minus its first
    Vec gain;                   // exposure and white balance
    float fog;                  // density [1/m]
    float glow;                 // brightness of the sky round the sun, in sunlights
    float ground_scale;         // [1/m]
    float noise;                // standard deviation of the sensor's noise, in [0, 1] of the output
    int ground_texture, seed;
    float unused[2];
};

struct Paint {  // one per primitive: 48 bytes
    Vec color, delta;  // first colour, and second minus first
    float scale;       // of the texture [1/m]
    float gloss;       // 0 matte to 1 mirror
    int texture, seed;
    float unused[2];
};

constexpr int PLAIN = 0, CHECKER = 1, STRIPES = 2, NOISE = 3, BRICKS = 4, WOOD = 5;

template <class T> RIG_FN T scramble(T h) {  // lowbias32 (Wellons 2018)
    h = (h ^ (h >> 16)) * 0x7feb352du;
    h = (h ^ (h >> 15)) * 0x846ca68bu;
    return h ^ (h >> 16);
}
RIG_FN F unit_of(U h) { return to_float(from_bits(h >> 8)) * (1.0f / 16777216.0f); }
RIG_FN F random_at(I x, I y, int seed) {
    return unit_of(scramble(to_bits(x) * 0x9e3779b1u ^ (to_bits(y) * 0x85ebca77u + (unsigned)seed * 0xc2b2ae3du)));
}

// Value noise in [0, 1]: random at integer points, smoothstep between them.
RIG_FN F value_noise(F x, F y, int seed) {
    F fx = round_down(x), fy = round_down(y), u = x - fx, v = y - fy;
    I ix = to_int(fx), iy = to_int(fy);
    u = u * u * (3.0f - 2.0f * u);
    v = v * v * (3.0f - 2.0f * v);
    F low = random_at(ix, iy, seed), high = random_at(ix, iy + 1, seed);
    low = low + (random_at(ix + 1, iy, seed) - low) * u;
    high = high + (random_at(ix + 1, iy + 1, seed) - high) * u;
    return low + (high - low) * v;
}

// Share of the second colour at (x, y), in texture units; x is across, y is up where there is an up.
RIG_FN F texture_at(int family, F x, F y, int seed) {
    if (family == CHECKER) return to_float((to_int(round_down(x)) + to_int(round_down(y))) & 1);
    if (family == STRIPES) return to_float(to_int(round_down(x)) & 1);
    if (family == NOISE) return 0.65f * value_noise(2.0f * x, 2.0f * y, seed) + 0.35f * value_noise(6.0f * x, 6.0f * y, seed);
    if (family == BRICKS) {
        F course = round_down(2.0f * y), shifted = x + 0.5f * to_float(to_int(course) & 1);
        F brick = 0.45f * random_at(to_int(round_down(shifted)), to_int(course), seed);
        return RIG_SELECT((part(shifted) < 0.06f) | (part(2.0f * y) < 0.12f), splat(1.0f), brick);
    }
    if (family == WOOD) {
        F ring = part(3.0f * x + 1.5f * value_noise(1.5f * x, 0.4f * y, seed));
        F wave = absolute(2.0f * ring - 1.0f);
        return 0.8f * wave * wave * (3.0f - 2.0f * wave) + 0.2f * value_noise(24.0f * x, 2.0f * y, seed);
    }
    return splat(0.0f);
}

// ---------------------------------------------------------------------------------------------------------------
// Light: a world's primitives as its sun sees them
// ---------------------------------------------------------------------------------------------------------------

struct Caster {  // a primitive as it casts shadows, one per (world, primitive): 80 bytes
    float rotation[9];  // local from world
    Vec center;         // [m]
    Vec sun;            // towards the sun, in the local frame
    Vec half;           // [m]
    int kind;
    float unused;
};

// Bins of the plane at right angles to the sun: a point's shadow ray can only meet primitives that have their bit set
// in its column and in its row.
constexpr int SUN_BINS = 64;
struct SunTable {
    Vec u, v;  // axes of the plane
    float low_u, scale_u, low_v, scale_v;
    float unused[2];
    u64 columns[SUN_BINS], rows[SUN_BINS];
};

RIG_FN float dot(const Vec& a, const Vec& b) { return a.x * b.x + a.y * b.y + a.z * b.z; }

RIG_FN void light_world(const Look& look, const int* kinds, const float* positions, const float* orientations,
                        const float* sizes, int count, Caster* casters, SunTable* table) {
    const Vec s = look.sun;
    float flat = s.x * s.x + s.y * s.y;
    float inverse = flat > 1e-12f ? 1.0f / scalar_root(flat) : 0.0f;
    const Vec u = inverse > 0.0f ? Vec{-s.y * inverse, s.x * inverse, 0.0f} : Vec{1.0f, 0.0f, 0.0f};
    const Vec v = {s.y * u.z - s.z * u.y, s.z * u.x - s.x * u.z, s.x * u.y - s.y * u.x};
    float low[2][64], high[2][64], first[2] = {FAR, FAR}, last[2] = {-FAR, -FAR};
    for (int k = 0; k < count; ++k) {
        Caster& c = casters[k];
        float m[9];
        const float* q = orientations + 4 * k;
        matrix_of(q[0], q[1], q[2], q[3], m);  // world from local
        for (int i = 0; i < 3; ++i)
            for (int j = 0; j < 3; ++j) c.rotation[3 * i + j] = m[3 * j + i];
        const float* r = c.rotation;
        c.center = {positions[3 * k], positions[3 * k + 1], positions[3 * k + 2]};
        c.sun = {r[0] * s.x + r[1] * s.y + r[2] * s.z, r[3] * s.x + r[4] * s.y + r[5] * s.z,
                 r[6] * s.x + r[7] * s.y + r[8] * s.z};
        c.half = {sizes[3 * k], sizes[3 * k + 1], sizes[3 * k + 2]};
        c.kind = kinds[k];
        for (int axis = 0; axis < 2; ++axis) {
            const Vec& a = axis ? v : u;
            float reach = 0.0f, h[3] = {c.half.x, c.half.y, c.half.z};
            for (int i = 0; i < 3; ++i) {
                float along = r[3 * i] * a.x + r[3 * i + 1] * a.y + r[3 * i + 2] * a.z;
                reach += h[i] * (along < 0.0f ? -along : along);
            }
            float middle = dot(c.center, a);
            low[axis][k] = middle - reach - SLACK;
            high[axis][k] = middle + reach + SLACK;
            bool there = c.kind != NONE && low[axis][k] <= high[axis][k];  // false for a NaN
            if (!there) c.kind = NONE;
            if (there && low[axis][k] < first[axis]) first[axis] = low[axis][k];
            if (there && high[axis][k] > last[axis]) last[axis] = high[axis][k];
        }
    }
    table->u = u;
    table->v = v;
    for (int i = 0; i < SUN_BINS; ++i) table->columns[i] = table->rows[i] = 0;
    for (int axis = 0; axis < 2; ++axis) {
        float span = last[axis] - first[axis], scale = span > 0.0f ? (SUN_BINS * 0.9999f) / span : 0.0f;
        u64* bins = axis ? table->rows : table->columns;
        for (int k = 0; k < count; ++k) {
            if (casters[k].kind == NONE) continue;
            int from = (int)((low[axis][k] - first[axis]) * scale), to = (int)((high[axis][k] - first[axis]) * scale);
            for (int b = from; b <= to && b < SUN_BINS; ++b) bins[b] |= 1ull << k;
        }
        (axis ? table->low_v : table->low_u) = first[axis];
        (axis ? table->scale_v : table->scale_u) = scale;
    }
}

// Whether points p of the world, on primitives `own` (or the ground), see something between them and the sun.
RIG_FN M in_shadow(const SunTable& table, const Caster* casters, const V3& p, I own, M asked) {
    F x = (dot(table.u, p) - table.low_u) * table.scale_u, y = (dot(table.v, p) - table.low_v) * table.scale_v;
    M inside = asked & (x >= 0.0f) & (x < (float)SUN_BINS) & (y >= 0.0f) & (y < (float)SUN_BINS);
    M dark = inside & (x != x);
    if (!any(inside)) return dark;
    I column = to_int(RIG_SELECT(inside, x, splat(0.0f))), row = to_int(RIG_SELECT(inside, y, splat(0.0f)));
    u64 candidates = 0;
    for (u64 left = bits_of(inside); left; left &= left - 1) {
        int i = lowest_bit(left);
        candidates |= table.columns[at(column, i)] & table.rows[at(row, i)];
    }
    for (; candidates; candidates &= candidates - 1) {
        int k = lowest_bit(candidates);
        const Caster& c = casters[k];
        V3 o = rotate(c.rotation, {p.x - c.center.x, p.y - c.center.y, p.z - c.center.z});
        Span s = span_of(c.kind, c.half, o, everywhere(c.sun));
        dark = dark | (inside & (s.enter < s.leave) & (s.leave > 0.0f) & (own != k));
    }
    return dark;
}

// ---------------------------------------------------------------------------------------------------------------
// Surfaces
// ---------------------------------------------------------------------------------------------------------------

// Outward unit normal of a solid at a point p of its surface, in its local frame: that of the face, side or cap that p
// is least deep under.
RIG_FN V3 normal_of(int kind, const Vec& h, const V3& p) {
    F zero = splat(0.0f), one = splat(1.0f);
    F sx = RIG_SELECT(p.x < 0.0f, -one, one), sy = RIG_SELECT(p.y < 0.0f, -one, one);
    F sz = RIG_SELECT(p.z < 0.0f, -one, one);
    if (kind == BOX) {
        F x = absolute(p.x) - h.x, y = absolute(p.y) - h.y, z = absolute(p.z) - h.z;
        M on_x = (x >= y) & (x >= z), on_y = (y >= z) & (x < y);
        M on_z = (z > x) & (z > y);
        return {RIG_SELECT(on_x, sx, zero), RIG_SELECT(on_y, sy, zero), RIG_SELECT(on_z, sz, zero)};
    }
    if (kind == SPHERE) {
        F inverse = 1.0f / square_root(not_below(dot(p, p), 1e-20f));
        return {p.x * inverse, p.y * inverse, p.z * inverse};
    }
    if (kind == CAPSULE) {
        float middle = h.z - h.x;
        V3 q = {p.x, p.y, p.z - larger(smaller(p.z, splat(middle)), splat(-middle))};
        F inverse = 1.0f / square_root(not_below(dot(q, q), 1e-20f));
        return {q.x * inverse, q.y * inverse, q.z * inverse};
    }
    F across = square_root(not_below(p.x * p.x + p.y * p.y, 1e-20f)), inverse = 1.0f / across;
    if (kind == CYLINDER) {
        M cap = absolute(p.z) - h.z > across - h.x;
        return {RIG_SELECT(cap, zero, p.x * inverse), RIG_SELECT(cap, zero, p.y * inverse), RIG_SELECT(cap, sz, zero)};
    }
    float slope = h.x / (2.0f * h.z);
    float flat = 1.0f / scalar_root(1.0f + slope * slope);
    M base = -p.z - h.z > (across - slope * (h.z - p.z)) * flat;
    F outward = inverse * flat;
    return {RIG_SELECT(base, zero, p.x * outward), RIG_SELECT(base, zero, p.y * outward),
            RIG_SELECT(base, -one, splat(slope * flat))};
}

struct Surface {
    V3 normal;          // camera frame
    V3 color, delta;    // paint
    F weight, gloss;    // share of the second colour; mirror
    I label;            // class
};

RIG_FN V3 select(M m, const V3& a, const V3& b) {
    return {RIG_SELECT(m, a.x, b.x), RIG_SELECT(m, a.y, b.y), RIG_SELECT(m, a.z, b.z)};
}

// Paints the lanes whose ray ends on primitive g.
RIG_FN void paint(Surface& out, M here, const ViewGeom& g, const Paint& paint, const V3& ray, F depth) {
    V3 d = rotate(g.rotation, ray), p = along(everywhere(g.origin), depth, d);
    V3 n = normal_of(g.kind, g.half, p);
    F x = absolute(n.x), y = absolute(n.y), z = absolute(n.z);
    // the texture is laid on from the axis that the normal leans to
    M level = (z > x) & (z > y), side = x > y;
    F u = RIG_SELECT(level, p.x, RIG_SELECT(side, p.y, p.x)), v = RIG_SELECT(level, p.y, p.z);
    F weight = texture_at(paint.texture, u * paint.scale, v * paint.scale, paint.seed);
    out.normal = select(here, rotate_back(g.rotation, n), out.normal);
    out.color = select(here, everywhere(paint.color), out.color);
    out.delta = select(here, everywhere(paint.delta), out.delta);
    out.weight = RIG_SELECT(here, weight, out.weight);
    out.gloss = RIG_SELECT(here, splat(paint.gloss), out.gloss);
    out.label = RIG_SELECT(here, splat_int(1 + g.kind), out.label);
}

// Calls paint for each primitive that one of the rays ends on.
RIG_FN void paint_hits(Surface& out, const ViewGeom* geoms, const Paint* paints, const V3& ray, const Hit& hit) {
    M left = hit.geom >= 0;
    for (u64 bits = bits_of(left); bits; bits = bits_of(left)) {
        int k = at(hit.geom, lowest_bit(bits));
        M here = hit.geom == k;
        paint(out, here, geoms[k], paints[k], ray, hit.depth);
        left = left & !here;
    }
}

// ---------------------------------------------------------------------------------------------------------------
// Light and colour
// ---------------------------------------------------------------------------------------------------------------

// What the camera of a view needs of its world's light: directions in the camera's frame.
struct Sight {
    Vec up, sun;
};
RIG_FN Sight sight_of(const View& view, const Look& look) {
    const float* r = view.rotation;
    const Vec& s = look.sun;
    return {{r[6], r[7], r[8]},
            {r[0] * s.x + r[3] * s.y + r[6] * s.z, r[1] * s.x + r[4] * s.y + r[7] * s.z,
             r[2] * s.x + r[5] * s.y + r[8] * s.z}};
}

RIG_FN V3 plus(const V3& a, F t, const Vec& b) { return {a.x + t * b.x, a.y + t * b.y, a.z + t * b.z}; }
RIG_FN V3 mixed(const V3& a, const V3& b, F t) {
    return {a.x + t * (b.x - a.x), a.y + t * (b.y - a.y), a.z + t * (b.z - a.z)};
}
RIG_FN V3 times(const V3& a, const V3& b) { return {a.x * b.x, a.y * b.y, a.z * b.z}; }

// The sky in unit directions of the camera's frame: horizon to zenith, and a glow round the sun.
RIG_FN V3 sky_in(const Look& look, const Sight& sight, const V3& d) {
    F height = clamp01(1.6f * dot(sight.up, d) + 0.08f);
    V3 color = mixed(everywhere(look.horizon), everywhere(look.zenith), height);
    F glow = not_below(dot(sight.sun, d), 0.0f);
    for (int i = 0; i < 5; ++i) glow = glow * glow;
    return plus(color, look.glow * glow, look.sunlight);
}

// Linear colour along rays of the camera, and the class of what they end on; `hit` says where.
template <bool SHADOWS>
RIG_FN V3 shade(const View& view, const ViewGeom* geoms, const Look& look, const Sight& sight, const Paint* paints,
                const Caster* casters, const SunTable* table, const V3& ray, const Hit& hit, I& label_out) {
    M solid = hit.geom != NOTHING;
    label_out = splat_int(0);
    if (!any(solid)) return sky_in(look, sight, ray);
    V3 p = along(everywhere(view.origin), hit.depth, rotate(view.rotation, ray));
    Surface s = {everywhere(sight.up), everywhere(look.ground), everywhere(look.ground_delta), splat(0.0f), splat(0.0f),
                 RIG_SELECT(solid, splat_int(1), label_out)};
    if (any(hit.geom == GROUND))
        s.weight = texture_at(look.ground_texture, p.x * look.ground_scale, p.y * look.ground_scale, look.seed);
    paint_hits(s, geoms, paints, ray, hit);
    label_out = s.label;
    F sunny = not_below(dot(sight.sun, s.normal), 0.0f);
    if (SHADOWS) sunny = RIG_SELECT(in_shadow(*table, casters, p, hit.geom, solid & (sunny > 0.0f)), splat(0.0f), sunny);
    F open = 0.75f + 0.25f * dot(sight.up, s.normal);  // share of the sky that the surface faces, roughly
    V3 light = {sunny * look.sunlight.x + open * look.ambient.x, sunny * look.sunlight.y + open * look.ambient.y,
                sunny * look.sunlight.z + open * look.ambient.z};
    V3 albedo = {s.color.x + s.weight * s.delta.x, s.color.y + s.weight * s.delta.y, s.color.z + s.weight * s.delta.z};
    V3 color = times(albedo, light);
    if (any(s.gloss > 0.0f)) {  // a mirror image of the sky and of a plain, sunlit ground; stronger at grazing angles
        F facing = dot(ray, s.normal);
        V3 mirrored = along(ray, -2.0f * facing, s.normal);
        V3 floor = everywhere({(look.ground.x + 0.5f * look.ground_delta.x) * (look.ambient.x + 0.5f * look.sunlight.x),
                               (look.ground.y + 0.5f * look.ground_delta.y) * (look.ambient.y + 0.5f * look.sunlight.y),
                               (look.ground.z + 0.5f * look.ground_delta.z) * (look.ambient.z + 0.5f * look.sunlight.z)});
        V3 image = select(dot(sight.up, mirrored) > 0.0f, sky_in(look, sight, mirrored), floor);
        F grazing = clamp01(1.0f - absolute(facing));
        grazing = grazing * grazing * grazing;
        color = mixed(color, image, s.gloss * (0.35f + 0.65f * grazing));
    }
    F clear = not_below(1.0f - hit.depth * (0.125f * look.fog), 0.0f);  // (1 - fog t / 8)^8, about exp(-fog t)
    clear = clear * clear;
    clear = clear * clear;
    clear = clear * clear;
    color = mixed(everywhere(look.horizon), color, clear);
    return any(hit.geom == NOTHING) ? select(solid, color, sky_in(look, sight, ray)) : color;
}

RIG_FN I level_of(F linear, float gain, F noise) {
    return to_int(clamp01(square_root(clamp01(linear * gain)) + noise) * 255.0f + 0.5f);
}

// Renders LANES pixels from `pixel` (in tile order) on, as the mean of `samples` rays each; depth and class are those
// of the nearest. `rays` holds [samples][tile][xyz][TILE_PIXELS], `stride` floats a sample.
template <bool SHADOWS>
RIG_FN void shade_pixels(const View& view, const ViewGeom* geoms, const u64* masks, const Look& look,
                         const Paint* paints, const Caster* casters, const SunTable* table, const float* rays,
                         int samples, size_t stride, const int* corners, int pixel, int width, int height, float range,
                         bool ground, unsigned noise_seed, unsigned char* rgb_out, float* depth_out,
                         unsigned char* class_out) {
    int tile = pixel / TILE_PIXELS;
    const int* corner = corners + 2 * tile;
    if (corner[0] >= height || corner[1] >= width) return;
    const Sight sight = sight_of(view, look);
    V3 color = everywhere({0.0f, 0.0f, 0.0f});
    F depth = splat(FAR);
    I label = splat_int(0);
    for (int i = 0; i < samples; ++i) {
        V3 ray = load_rays(rays + i * stride, pixel);
        Hit hit = trace_ray<true>(view, geoms, masks[tile], ray, range, ground);
        I seen;
        V3 c = shade<SHADOWS>(view, geoms, look, sight, paints, casters, table, ray, hit, seen);
        color = {color.x + c.x, color.y + c.y, color.z + c.z};
        M nearer = hit.depth < depth;
        depth = RIG_SELECT(nearer, hit.depth, depth);
        label = RIG_SELECT(nearer, seen, label);
    }
    float share = 1.0f / samples;
    F noise[3] = {splat(0.0f), splat(0.0f), splat(0.0f)};
    if (look.noise > 0.0f) {  // uniform, of the given standard deviation; ten bits a channel
        U h = scramble(to_bits(lane_numbers() + splat_int(pixel)) * 0x9e3779b1u + noise_seed);
        for (int i = 0; i < 3; ++i)
            noise[i] = (to_float(from_bits((h >> (10 * i)) & 0x3ffu)) - 511.5f) * (look.noise * 3.3843e-3f);
    }
    const size_t plane = size_t(width) * height;
    store_pixels(rgb_out, level_of(color.x, look.gain.x * share, noise[0]), pixel, corner, width, height);
    store_pixels(rgb_out + plane, level_of(color.y, look.gain.y * share, noise[1]), pixel, corner, width, height);
    store_pixels(rgb_out + 2 * plane, level_of(color.z, look.gain.z * share, noise[2]), pixel, corner, width, height);
    store_pixels(depth_out, depth, pixel, corner, width, height);
    store_pixels(class_out, label, pixel, corner, width, height);
}

}  // namespace mmnav_rig
