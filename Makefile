.PHONY: setup test lint format bench clean

setup:   ## make .venv
	./isaaclab.sh

test:    ## run the tests
	./isaaclab.sh -t

lint:    ## check style and spelling
	./isaaclab.sh -p -m ruff check
	./isaaclab.sh -p -m ruff format --check
	./isaaclab.sh -p -m codespell_lib

format:  ## fix style
	./isaaclab.sh -p -m ruff check --fix
	./isaaclab.sh -p -m ruff format

bench:   ## print the speed figures of the README
	./isaaclab.sh -p scripts/benchmark.py

clean:   ## remove builds and caches, not .venv
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find source exts scripts tests -name __pycache__ -type d -prune -exec rm -rf {} +
