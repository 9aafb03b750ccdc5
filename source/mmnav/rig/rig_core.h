// The rig's ray caster: every (env, camera, pixel) against analytic primitives, culled by 64-bit candidate masks.
//
// One source, two machines. On a CPU a "lane vector" F is 16 floats (clang vector extensions) and a task works on 16
// primitives, tiles or pixels at a time; under NVRTC F is one float and a thread works on one (on a CPU too, if
// RIG_ONE_LANE is defined: tests hold the two against each other). Memory layouts do not depend on the lane count.
//
// Three stages, each a plain function over one view (= one camera of one env):
//   place_view   brings every primitive into the camera's frame (ViewGeom) and drops those out of range or sight;
//   mask_patch   finds, for each 4x4-pixel tile, the primitives that its rays could meet: one 64-bit word. Images are
//                cut up in steps of four, patch, block, tile, so that a primitive is tested only near where it is;
//   trace_pixels intersects each pixel's ray with the candidates of its tile.
// Later passes (colour, shadow) start from the Hit that trace_ray returns; nothing before it needs to change.
//
// Frames: x forward, y left, z up. A primitive's local frame is centred on it, with half extents h.
//
// NaN: an unusable pose makes every comparison false. All tests below are written so that "false" means "no hit".

namespace mmnav_rig {

typedef unsigned long long u64;

#if defined(__CUDACC__)
#define RIG_ONE_LANE
#define RIG_FN static __device__ __forceinline__
RIG_FN float scalar_root(float x) { return sqrtf(x); }
#else
#define RIG_FN static inline __attribute__((always_inline))
RIG_FN float scalar_root(float x) { return __builtin_sqrtf(x); }
#endif
RIG_FN int lowest_bit(u64 m) {
#if defined(__CUDACC__)
    return __ffsll((long long)m) - 1;
#else
    return __builtin_ctzll(m);
#endif
}

#if defined(RIG_ONE_LANE)
constexpr int LANES = 1;
typedef float F;
typedef int I;
typedef bool M;
RIG_FN F splat(float x) { return x; }
RIG_FN I splat_int(int x) { return x; }
RIG_FN F load(const float* p, int lane) { return p[lane]; }
RIG_FN I load_int(const int* p) { return *p; }
RIG_FN F gather(const float* p, const int* index, int stride) { return p[index[0] * stride]; }
RIG_FN void store(float* p, F x) { *p = x; }
RIG_FN void store(int* p, I x) { *p = x; }
RIG_FN void store(unsigned char* p, I x) { *p = (unsigned char)x; }
RIG_FN F square_root(F x) { return scalar_root(x); }
RIG_FN F absolute(F x) { return x < 0.0f ? -x : x; }
RIG_FN u64 bits_of(M m) { return m ? 1ull : 0ull; }
#else
constexpr int LANES = 16;
typedef float F __attribute__((vector_size(64)));
typedef int I __attribute__((vector_size(64)));
typedef I M;  // 0 or -1 a lane
typedef bool LaneBits __attribute__((ext_vector_type(16)));
RIG_FN F splat(float x) { return F{} + x; }
RIG_FN I splat_int(int x) { return I{} + x; }
RIG_FN F load(const float* p, int) { F x; __builtin_memcpy(&x, p, sizeof(x)); return x; }
RIG_FN I load_int(const int* p) { I x; __builtin_memcpy(&x, p, sizeof(x)); return x; }
RIG_FN F gather(const float* p, const int* index, int stride) {
    float x[LANES];
    for (int i = 0; i < LANES; ++i) x[i] = p[index[i] * stride];
    return load(x, 0);
}
RIG_FN void store(float* p, F x) { __builtin_memcpy(p, &x, sizeof(x)); }
RIG_FN void store(int* p, I x) { __builtin_memcpy(p, &x, sizeof(x)); }
RIG_FN void store(unsigned char* p, I x) {
    typedef unsigned char Bytes __attribute__((vector_size(16)));
    Bytes b = __builtin_convertvector(x, Bytes);
    __builtin_memcpy(p, &b, sizeof(b));
}
RIG_FN F square_root(F x) { return __builtin_elementwise_sqrt(x); }
RIG_FN F absolute(F x) { return __builtin_elementwise_abs(x); }
RIG_FN u64 bits_of(M m) {
    LaneBits b = __builtin_convertvector(m, LaneBits);
    unsigned short bits;
    __builtin_memcpy(&bits, &b, sizeof(bits));
    return bits;
}
RIG_FN M mask_of(unsigned bits) {
    unsigned short b = (unsigned short)bits;
    LaneBits lanes;
    __builtin_memcpy(&lanes, &b, sizeof(b));
    return -__builtin_convertvector(lanes, I);
}
#endif

constexpr int TILE = 4;                    // pixels along a tile's side
constexpr int TILE_PIXELS = TILE * TILE;   // = lanes of a CPU vector
constexpr int GRID = 4;                    // tiles along a block's side, and blocks along a patch's side
constexpr int BLOCK = GRID * GRID;         // tiles of a block, blocks of a patch
constexpr int PLANES = 4;                  // sides of a view's pyramid
constexpr int NOTHING = -1, GROUND = -2;   // geom index of a ray that meets no primitive
constexpr float FAR = 1e30f;
constexpr float SLACK = 1e-4f;             // [m] a primitive this far outside a plane still counts as inside

#define RIG_SELECT(mask, a, b) ((mask) ? (a) : (b))
// A comparison with NaN is false, so these return b when either is NaN.
RIG_FN F smaller(F a, F b) { return RIG_SELECT(a < b, a, b); }
RIG_FN F larger(F a, F b) { return RIG_SELECT(a > b, a, b); }
RIG_FN F not_below(F a, float floor) { return larger(a, splat(floor)); }
// Pushes x off zero so that 1 / x stays finite; 1e-7 of a unit direction is below float resolution.
RIG_FN F off_zero(F x) { return RIG_SELECT(absolute(x) < 1e-7f, splat(1e-7f), x); }

struct V3 { F x, y, z; };
struct Vec { float x, y, z; };  // the same for all lanes

RIG_FN F dot(const V3& a, const V3& b) { return a.x * b.x + a.y * b.y + a.z * b.z; }
RIG_FN F dot(const Vec& a, const V3& b) { return a.x * b.x + a.y * b.y + a.z * b.z; }
RIG_FN V3 everywhere(const Vec& a) { return {splat(a.x), splat(a.y), splat(a.z)}; }
RIG_FN V3 rotate(const float* a, const V3& v) {  // a v, the matrix by rows
    return {a[0] * v.x + a[1] * v.y + a[2] * v.z, a[3] * v.x + a[4] * v.y + a[5] * v.z,
            a[6] * v.x + a[7] * v.y + a[8] * v.z};
}
RIG_FN V3 rotate_back(const float* a, const V3& v) {  // transpose of a, times v
    return {a[0] * v.x + a[3] * v.y + a[6] * v.z, a[1] * v.x + a[4] * v.y + a[7] * v.z,
            a[2] * v.x + a[5] * v.y + a[8] * v.z};
}
RIG_FN V3 along(const V3& o, F t, const V3& d) { return {o.x + t * d.x, o.y + t * d.y, o.z + t * d.z}; }

// A camera in the world, one per view: 64 bytes.
struct View {
    float rotation[9];  // world from camera, row by row
    Vec origin;         // [m]
    u64 visible;        // bit k: primitive k may be seen
    float unused[2];
};

// A primitive as one view sees it, one per (view, visible primitive): 64 bytes, one cache line.
struct ViewGeom {
    float rotation[9];  // local from camera, row by row
    Vec origin;         // the camera in the primitive's frame [m]
    Vec half;           // half extents [m], inflated if conservative
    int kind;
};

// mmnav.scenes.Kind
constexpr int NONE = 0, BOX = 1, CYLINDER = 2, CONE = 3, SPHERE = 4, CAPSULE = 5;

// Matrix of a quaternion (x, y, z, w) of any non-zero length.
template <class T> RIG_FN void matrix_of(T x, T y, T z, T w, T* m) {
    T s = 2.0f / (x * x + y * y + z * z + w * w);
    T xx = s * x * x, yy = s * y * y, zz = s * z * z, xy = s * x * y, xz = s * x * z, yz = s * y * z;
    T wx = s * w * x, wy = s * w * y, wz = s * w * z;
    m[0] = 1.0f - yy - zz; m[1] = xy - wz;        m[2] = xz + wy;
    m[3] = xy + wz;        m[4] = 1.0f - xx - zz; m[5] = yz - wx;
    m[6] = xz - wy;        m[7] = yz + wx;        m[8] = 1.0f - xx - yy;
}

// ---------------------------------------------------------------------------------------------------------------
// Stage 1: one view's camera and primitives
// ---------------------------------------------------------------------------------------------------------------

// A primitive's pyramid test: its bounding box lies wholly outside the plane n.x = 0 through the camera if its support
// value max n.x = |A n|.h - (A n).o is negative. Sixteen planes or sixteen primitives at a time.
template <class Rotation, class Point>
RIG_FN M inside_plane(const Rotation* a, const Point& o, const Point& h, const V3& n) {
    F qx = a[0] * n.x + a[1] * n.y + a[2] * n.z;
    F qy = a[3] * n.x + a[4] * n.y + a[5] * n.z;
    F qz = a[6] * n.x + a[7] * n.y + a[8] * n.z;
    F reach = absolute(qx) * h.x + absolute(qy) * h.y + absolute(qz) * h.z;
    return reach - (qx * o.x + qy * o.y + qz * o.z) >= -SLACK;
}

// Raises half extents that a pixel pitch could step over. `across` and `down` are half the largest angle [rad]
// between neighbouring pixels; half an extent along local axis i is at least rho_i (D + h_i), with D the distance to
// the bounding box and rho_i between the two angles by the axis' tilt in the image. (D + h_i is about the distance to
// the middle, from which a thin thing's width is seen.) Round kinds have one radius: it takes the most demanding
// direction of its circle. The grown solid holds the true one and, as D = 0 inside the box, never the camera.
RIG_FN void inflate(const F* a, F distance, I kind, float across, float down, V3& h) {
    const float across2 = across * across, more = down * down - across2;
    F upright_x = a[2] * a[2], upright_y = a[5] * a[5], upright_z = a[8] * a[8];  // of the local axes in the image
    M sphere = kind == SPHERE, round = kind != BOX;
    F steepest = RIG_SELECT(sphere, splat(1.0f), not_below(1.0f - upright_z, 0.0f));  // direction across the axis
    F round2 = across2 + not_below(more * steepest, 0.0f);
    F rho_x = square_root(RIG_SELECT(round, round2, across2 + more * upright_x));
    F rho_y = square_root(RIG_SELECT(round, round2, across2 + more * upright_y));
    F rho_z = square_root(across2 + more * upright_z);
    F x = larger(h.x, rho_x * (distance + h.x)), y = larger(h.y, rho_y * (distance + h.y));
    F z = larger(h.z, rho_z * (distance + h.z));
    // A taller cone must widen its base to hold the true one; a very flat one may not reach the camera by that.
    F base = smaller(h.x * (2.0f * z) / (z + h.z), h.x + 0.5f * distance);
    M cone = kind == CONE;
    h.x = RIG_SELECT(cone, larger(x, base), x);
    h.y = RIG_SELECT(cone, larger(y, base), y);
    z = RIG_SELECT(kind == CAPSULE, larger(h.z, x), z);  // a thicker capsule keeps its length
    h.z = RIG_SELECT(sphere, x, z);
}

// Writes `view` and the records of the primitives it may see.
RIG_FN void place_view(const float* robot_position, const float* robot_orientation, const float* mount,
                       const float* planes, const int* kinds, const float* positions, const float* orientations,
                       const float* sizes, int count, float range, float across, float down, View* view,
                       ViewGeom* geoms) {
    // World from camera = world from robot, then the camera's mount (rotation, then position).
    float robot[9];
    matrix_of(robot_orientation[0], robot_orientation[1], robot_orientation[2], robot_orientation[3], robot);
    View out = {};
    float* r = out.rotation;
    float eye[3];
    for (int i = 0; i < 3; ++i) {
        for (int j = 0; j < 3; ++j)
            r[3 * i + j] = robot[3 * i] * mount[j] + robot[3 * i + 1] * mount[3 + j] + robot[3 * i + 2] * mount[6 + j];
        eye[i] = robot_position[i];
        for (int j = 0; j < 3; ++j) eye[i] += robot[3 * i + j] * mount[9 + j];
    }
    const float none = 0.0f * (eye[0] + eye[1] + eye[2]);  // a place that is not finite is none at all
    for (int i = 0; i < 3; ++i) eye[i] += none;
    out.origin = {eye[0], eye[1], eye[2]};

    for (int first = 0; first < count; first += LANES) {
        int index[LANES], kind_lanes[LANES];
        for (int i = 0; i < LANES; ++i) {
            int k = first + i;
            index[i] = k < count ? k : count - 1;
            kind_lanes[i] = k < count ? kinds[k] : NONE;
        }
        I kind = load_int(kind_lanes);
        F g[9], a[9];
        matrix_of(gather(orientations, index, 4), gather(orientations + 1, index, 4),
                  gather(orientations + 2, index, 4), gather(orientations + 3, index, 4), g);
        for (int i = 0; i < 3; ++i)
            for (int j = 0; j < 3; ++j) a[3 * i + j] = g[i] * r[j] + g[3 + i] * r[3 + j] + g[6 + i] * r[6 + j];
        V3 from = {eye[0] - gather(positions, index, 3), eye[1] - gather(positions + 1, index, 3),
                   eye[2] - gather(positions + 2, index, 3)};
        V3 o = {g[0] * from.x + g[3] * from.y + g[6] * from.z, g[1] * from.x + g[4] * from.y + g[7] * from.z,
                g[2] * from.x + g[5] * from.y + g[8] * from.z};
        V3 h = {gather(sizes, index, 3), gather(sizes + 1, index, 3), gather(sizes + 2, index, 3)};

        // Distance from the camera to the bounding box; 0 inside it, so that nothing is inflated over the camera.
        V3 gap = {not_below(absolute(o.x) - h.x, 0.0f), not_below(absolute(o.y) - h.y, 0.0f),
                  not_below(absolute(o.z) - h.z, 0.0f)};
        F distance2 = dot(gap, gap);
        if (across > 0.0f) inflate(a, square_root(distance2), kind, across, down, h);

        // The floor of `gap` may hide a NaN; inside_plane does not, so a primitive with one is dropped there.
        M keep = (kind != NONE) & (distance2 <= range * range);
        for (int p = 0; p < PLANES; ++p) {
            V3 n = {splat(planes[3 * p]), splat(planes[3 * p + 1]), splat(planes[3 * p + 2])};
            keep = keep & inside_plane(a, o, h, n);
        }
        u64 kept = bits_of(keep);
        out.visible |= kept << first;

        float lanes[15][LANES];
        for (int i = 0; i < 9; ++i) store(lanes[i], a[i]);
        store(lanes[9], o.x); store(lanes[10], o.y); store(lanes[11], o.z);
        store(lanes[12], h.x); store(lanes[13], h.y); store(lanes[14], h.z);
        for (; kept; kept &= kept - 1) {
            int i = lowest_bit(kept);
            ViewGeom& record = geoms[first + i];
            for (int j = 0; j < 9; ++j) record.rotation[j] = lanes[j][i];
            record.origin = {lanes[9][i], lanes[10][i], lanes[11][i]};
            record.half = {lanes[12][i], lanes[13][i], lanes[14][i]};
            record.kind = kind_lanes[i];
        }
    }
    *view = out;
}

// ---------------------------------------------------------------------------------------------------------------
// Stage 2: candidate masks
// ---------------------------------------------------------------------------------------------------------------

// A fence is the sixteen planes [xyz][16] round the columns (two each) and the rows (two each) of a 4x4 grid of cells:
// tiles of a block, or blocks of a patch. A primitive may reach into a cell if it may reach into its column and its row.
constexpr int FENCE = 3 * BLOCK;

#if defined(RIG_ONE_LANE)
RIG_FN bool inside_fence(const ViewGeom& g, const float* fence, int plane) {
    V3 n = {fence[plane], fence[BLOCK + plane], fence[2 * BLOCK + plane]};
    return inside_plane(g.rotation, g.origin, g.half, n);
}
RIG_FN unsigned cells_reached(const ViewGeom& g, const float* fence) {
    unsigned columns = 0, cells = 0;
    for (int i = 0; i < GRID; ++i)
        if (inside_fence(g, fence, 2 * i) && inside_fence(g, fence, 2 * i + 1)) columns |= 1u << i;
    for (int j = 0; j < GRID && columns; ++j)
        if (inside_fence(g, fence, 2 * (GRID + j)) && inside_fence(g, fence, 2 * (GRID + j) + 1))
            cells |= columns << (GRID * j);
    return cells;
}
#else
RIG_FN unsigned cells_reached(const ViewGeom& g, const float* fence) {
    V3 n = {load(fence, 0), load(fence + BLOCK, 0), load(fence + 2 * BLOCK, 0)};
    unsigned in = (unsigned)bits_of(inside_plane(g.rotation, g.origin, g.half, n));
    unsigned both = in & (in >> 1), columns = both & 0x55u, rows = (both >> 8) & 0x55u;  // line i at bit 2 i
    columns = (columns & 0x11u) | ((columns & 0x44u) >> 1);
    columns = (columns & 0x03u) | ((columns & 0x30u) >> 2);  // at bit i
    rows = (rows & 0x05u) | ((rows & 0x50u) << 4);
    rows = (rows & 0x0101u) | ((rows & 0x0404u) << 2);  // at bit 4 i
    return columns * rows;
}
#endif

// Masks of the tiles of one block.
RIG_FN void mask_block(const ViewGeom* geoms, const float* fence, u64 candidates, u64* masks_out) {
#if defined(RIG_ONE_LANE)
    for (int i = 0; i < BLOCK; ++i) masks_out[i] = 0;
    for (; candidates; candidates &= candidates - 1) {
        int k = lowest_bit(candidates);
        for (unsigned cells = cells_reached(geoms[k], fence); cells; cells &= cells - 1)
            masks_out[lowest_bit(cells)] |= 1ull << k;
    }
#else
    I low = splat_int(0), high = splat_int(0);
    for (; candidates; candidates &= candidates - 1) {
        int k = lowest_bit(candidates);
        I bit = mask_of(cells_reached(geoms[k], fence)) & splat_int((int)(1u << (k & 31)));
        if (k < 32) low = low | bit;
        else high = high | bit;
    }
    int lows[LANES], highs[LANES];
    store(lows, low);
    store(highs, high);
    for (int i = 0; i < BLOCK; ++i) masks_out[i] = (u64)(unsigned)lows[i] | ((u64)(unsigned)highs[i] << 32);
#endif
}

// Masks of the tiles of all blocks of a patch.
RIG_FN void mask_patch(const View& view, const ViewGeom* geoms, const float* patch_fence, const float* block_fences,
                       const int* blocks, u64* masks_out) {
    u64 candidates[BLOCK] = {};
    for (u64 left = view.visible; left; left &= left - 1) {
        int k = lowest_bit(left);
        for (unsigned cells = cells_reached(geoms[k], patch_fence); cells; cells &= cells - 1)
            candidates[lowest_bit(cells)] |= 1ull << k;
    }
    for (int i = 0; i < BLOCK; ++i)
        if (blocks[i] >= 0)
            mask_block(geoms, block_fences + blocks[i] * FENCE, candidates[i], masks_out + blocks[i] * BLOCK);
}

// ---------------------------------------------------------------------------------------------------------------
// Stage 3: rays against primitives
// ---------------------------------------------------------------------------------------------------------------

// Where a line is inside a convex solid: o + t d for t in [enter, leave]; empty if enter >= leave.
struct Span { F enter, leave; };

RIG_FN Span empty_unless(M meets, F enter, F leave) {
    return {RIG_SELECT(meets, enter, splat(FAR)), RIG_SELECT(meets, leave, splat(-FAR))};
}
RIG_FN Span common(const Span& a, const Span& b) { return {larger(a.enter, b.enter), smaller(a.leave, b.leave)}; }
// Of two spans whose union is one span (both are parts of one convex solid); either may be empty.
RIG_FN Span joined(const Span& a, const Span& b) {
    M a_some = a.enter < a.leave, b_some = b.enter < b.leave;
    Span x = empty_unless(a_some, a.enter, a.leave), y = empty_unless(b_some, b.enter, b.leave);
    return {smaller(x.enter, y.enter), larger(x.leave, y.leave)};
}

RIG_FN Span span_of_slab(F o, F d, float half) {  // -half <= z <= half
    F inverse = 1.0f / off_zero(d), middle = -o * inverse, reach = absolute(half * inverse);
    return {middle - reach, middle + reach};
}

RIG_FN Span span_of_box(const V3& o, const V3& d, const Vec& h) {
    F dx = off_zero(d.x), dy = off_zero(d.y), dz = off_zero(d.z);
    F dyz = dy * dz, inverse = 1.0f / (dx * dyz);  // one division for three
    F ix = dyz * inverse, iy = dx * dz * inverse, iz = dx * dy * inverse;
    F mx = -o.x * ix, my = -o.y * iy, mz = -o.z * iz;
    F rx = absolute(h.x * ix), ry = absolute(h.y * iy), rz = absolute(h.z * iz);
    return {larger(larger(mx - rx, my - ry), mz - rz), smaller(smaller(mx + rx, my + ry), mz + rz)};
}

// Sphere of radius r round the origin. The distance to the line is taken at its nearest point, not from
// b^2 - a c, whose digits cancel for thin things far away.
RIG_FN Span span_of_sphere(const V3& o, const V3& d, float r) {
    F t = -dot(o, d);
    V3 nearest = along(o, t, d);
    F rest = r * r - dot(nearest, nearest);
    F reach = square_root(not_below(rest, 0.0f));
    return empty_unless(rest > 0.0f, t - reach, t + reach);
}

// Endless cylinder of radius r round z.
RIG_FN Span span_of_tube(const V3& o, const V3& d, float r) {
    F flat = not_below(d.x * d.x + d.y * d.y, 1e-14f), inverse = 1.0f / flat;
    F t = -(o.x * d.x + o.y * d.y) * inverse;
    F x = o.x + t * d.x, y = o.y + t * d.y;
    F rest = r * r - (x * x + y * y);
    F reach = square_root(not_below(rest, 0.0f) * inverse);
    return empty_unless(rest > 0.0f, t - reach, t + reach);
}

// Cone with its apex at z = +h.z and its base of radius h.x at z = -h.z.
RIG_FN Span span_of_cone(const V3& o, const V3& d, const Vec& h) {
    F shift = -dot(o, d);  // solve from the line's point nearest to the cone, where numbers are small
    V3 p = along(o, shift, d);
    float slope = h.x / (2.0f * h.z), slope2 = slope * slope;
    F z = p.z - h.z;
    F a = d.x * d.x + d.y * d.y - slope2 * (d.z * d.z);
    a = RIG_SELECT(absolute(a) < 1e-12f, splat(1e-12f), a);
    F b = p.x * d.x + p.y * d.y - slope2 * (z * d.z);
    F c = p.x * p.x + p.y * p.y - slope2 * (z * z);
    F rest = b * b - a * c;
    F root = square_root(not_below(rest, 0.0f));
    F q = RIG_SELECT(b < 0.0f, root - b, -root - b);  // the root without cancellation; the other is c / q
    q = RIG_SELECT(absolute(q) < 1e-20f, splat(1e-20f), q);
    F t0 = q / a, t1 = c / q;
    F first = smaller(t0, t1), second = larger(t0, t1);
    // A line flatter than the sides (a > 0) is inside between its roots. A steeper one is inside the double cone
    // outside its roots: the half below the apex lies behind the second root if it falls, before the first if it rises.
    M flat = a > 0.0f, falls = d.z < 0.0f;
    F enter = RIG_SELECT(flat, first, RIG_SELECT(falls, second, splat(-FAR)));
    F leave = RIG_SELECT(flat, second, RIG_SELECT(falls, splat(FAR), first));
    Span sides = empty_unless((rest > 0.0f) | (a < 0.0f), enter, leave);
    Span s = common(sides, span_of_slab(p.z, d.z, h.z));
    return {s.enter + shift, s.leave + shift};
}

RIG_FN Span span_of_capsule(const V3& o, const V3& d, const Vec& h) {
    float middle = h.z - h.x;  // half length of the axis between the caps' centres
    Span side = common(span_of_tube(o, d, h.x), span_of_slab(o.z, d.z, middle));
    Span top = span_of_sphere({o.x, o.y, o.z - middle}, d, h.x);
    Span bottom = span_of_sphere({o.x, o.y, o.z + middle}, d, h.x);
    return joined(side, joined(top, bottom));
}

RIG_FN Span span_of(int kind, const Vec& half, const V3& o, const V3& d) {
    if (kind == BOX) return span_of_box(o, d, half);
    if (kind == CYLINDER) return common(span_of_tube(o, d, half.x), span_of_slab(o.z, d.z, half.z));
    if (kind == SPHERE) return span_of_sphere(o, d, half.x);
    if (kind == CONE) return span_of_cone(o, d, half);
    return span_of_capsule(o, d, half);
}

struct Hit { F depth; I geom; };

// Nearest surface along LANES rays of the camera. A ray that starts inside a solid has depth 0 and that solid's
// index: what is pressed against the lens is at no distance. Of equal depths the lowest index wins.
template <bool GEOM>
RIG_FN Hit trace_ray(const View& view, const ViewGeom* geoms, u64 candidates, const V3& ray, float range, bool ground) {
    Hit hit = {splat(range), splat_int(NOTHING)};
    if (ground) {
        F fall = dot(Vec{view.rotation[6], view.rotation[7], view.rotation[8]}, ray);
        F t = RIG_SELECT(fall < 0.0f, -view.origin.z / fall, splat(FAR));
        if (view.origin.z <= 0.0f) t = splat(0.0f);  // the camera is in the ground
        M nearer = t < hit.depth;
        hit.depth = RIG_SELECT(nearer, t, hit.depth);
        if (GEOM) hit.geom = RIG_SELECT(nearer, splat_int(GROUND), hit.geom);
    }
    for (; candidates; candidates &= candidates - 1) {
        int k = lowest_bit(candidates);
        const ViewGeom& g = geoms[k];
        Span s = span_of(g.kind, g.half, everywhere(g.origin), rotate(g.rotation, ray));
        F t = not_below(s.enter, 0.0f);
        M nearer = (s.enter < s.leave) & (s.leave > 0.0f) & (t < hit.depth);
        hit.depth = RIG_SELECT(nearer, t, hit.depth);
        if (GEOM) hit.geom = RIG_SELECT(nearer, splat_int(k), hit.geom);
    }
    return hit;
}

// Writes LANES pixels, the first of which is `pixel` in tile order, to an image of rows. `corner` is the row and the
// column of their tile's first pixel.
template <class T, class V>
RIG_FN void store_pixels(T* image, V values, int pixel, const int* corner, int width, int height) {
    const int row0 = corner[0], column0 = corner[1];
    T lanes[LANES];
    store(lanes, values);
#if !defined(RIG_ONE_LANE)
    if (row0 + TILE <= height && column0 + TILE <= width) {
        for (int i = 0; i < TILE; ++i)
            __builtin_memcpy(image + (row0 + i) * width + column0, lanes + TILE * i, TILE * sizeof(T));
        return;
    }
#endif
    for (int i = 0; i < LANES; ++i) {
        int lane = pixel % TILE_PIXELS + i, row = row0 + lane / TILE, column = column0 + lane % TILE;
        if (row < height && column < width) image[row * width + column] = lanes[i];
    }
}

// Unit directions of the LANES pixels from `pixel` on; `rays` holds tiles [xyz][TILE_PIXELS].
RIG_FN V3 load_rays(const float* rays, int pixel) {
    const float* tile = rays + (pixel / TILE_PIXELS) * (3 * TILE_PIXELS);
    int lane = pixel % TILE_PIXELS;
    return {load(tile, lane), load(tile + TILE_PIXELS, lane), load(tile + 2 * TILE_PIXELS, lane)};
}

// Traces the LANES pixels from `pixel` on: the nearest hit of each pixel's samples, `stride` floats apart.
template <bool GEOM>
RIG_FN void trace_pixels(const View& view, const ViewGeom* geoms, const u64* masks, const float* rays, int samples,
                         size_t stride, const int* corners, int pixel, int width, int height, float range, bool ground,
                         float* depth_out, int* geom_out) {
    int tile = pixel / TILE_PIXELS;
    const int* corner = corners + 2 * tile;
    if (corner[0] >= height || corner[1] >= width) return;
    Hit hit = trace_ray<GEOM>(view, geoms, masks[tile], load_rays(rays, pixel), range, ground);
    for (int i = 1; i < samples; ++i) {
        Hit other = trace_ray<GEOM>(view, geoms, masks[tile], load_rays(rays + i * stride, pixel), range, ground);
        M nearer = other.depth < hit.depth;
        hit.depth = RIG_SELECT(nearer, other.depth, hit.depth);
        if (GEOM) hit.geom = RIG_SELECT(nearer, other.geom, hit.geom);
    }
    store_pixels(depth_out, hit.depth, pixel, corner, width, height);
    if (GEOM) store_pixels(geom_out, hit.geom, pixel, corner, width, height);
}

}  // namespace mmnav_rig
