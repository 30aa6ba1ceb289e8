# All paths are relative, so that the folder may have spaces in its name.
PYTHON ?= python3
# Further arguments of pip, for example an index of CPU-only torch wheels.
PIP_ARGS ?=

# Threads on cores that are busy with something else mostly wait for each other; small systems need one.
OMP_NUM_THREADS ?= 1
export OMP_NUM_THREADS

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check
PYTEST := $(BIN)/python -m pytest -q -n 2

.PHONY: help install lint measure docs demo test test-all test-kernels test-kernels-quick gpu silicon ethanol ethanol-ponita ethanol-pnita clean \
	mlearn silicon-general lithium germanium molybdenum

help:
	@echo "make demo      install into $(VENV), run the examples, write demo/"
	@echo "make test      install into $(VENV), run the tests that are not slow"
	@echo "make lint      install into $(VENV), check style and types"
	@echo "make docs      install into $(VENV), build the pages of docs/ as a site in site/"
	@echo "make measure   print how easily the code reads, in numbers"
	@echo "make test-all  install into $(VENV), run all tests"
	@echo "make test-kernels        run the numerical tests with other kernels, threads and seeds"
	@echo "make test-kernels-quick  a few of them, about a minute"
	@echo "make gpu       install into $(VENV), check and time everything on a GPU, at most eight minutes"
	@echo "make silicon   train the silicon calculator again, into runs/silicon"
	@echo "make ethanol   train the ethanol calculator again, into runs/ethanol"
	@echo "make ethanol-ponita   train the PONITA of ethanol again, into runs/ethanol-ponita"
	@echo "make ethanol-pnita    train the PNITA of ethanol again, into runs/ethanol-pnita"
	@echo "make silicon-general lithium germanium molybdenum DATA=FOLDER"
	@echo "               train these calculators again, into runs/; FOLDER: benchmarks/data/mlearn.py"
	@echo "make install   install into $(VENV) only"
	@echo "make clean     remove $(VENV), demo/ and build products"
	@echo "Options: PYTHON=python3.12 (3.11 or later), PIP_ARGS='arguments of pip install', OMP_NUM_THREADS=1"

install: $(INSTALLED)

# torch goes first and alone: whatever build of the pinned version pip finds then satisfies the rest.
$(INSTALLED): setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=...")'
	$(PYTHON) -m venv --clear $(VENV)
	$(PIP) install --quiet $(PIP_ARGS) -c constraints.txt setuptools torch
	$(PIP) install --quiet $(PIP_ARGS) -c constraints.txt --no-build-isolation -e '.[phonons,train,test,lint,engines]'
	@touch $(INSTALLED)

lint: $(INSTALLED)
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy ase_pet

measure: $(INSTALLED)
	$(BIN)/python tests/reading.py

# Warnings are errors: `strict` in mkdocs.yml.
docs: $(INSTALLED)
	$(PIP) install --quiet $(PIP_ARGS) -c constraints.txt --no-build-isolation -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 PYTHONPATH=. $(BIN)/python -m mkdocs build --quiet
	@echo "Written to site/: open site/index.html"

demo: $(INSTALLED)
	$(BIN)/python md_examples/01_nve_energy_conservation.py --output demo
	$(BIN)/python md_examples/02_phonon_bands.py --output demo
	$(BIN)/python md_examples/03_angular_momentum.py --output demo
	@echo "Written to demo/:" && ls demo

test: $(INSTALLED)
	$(PYTEST) -m "not slow"

test-all: $(INSTALLED)
	$(PYTEST)

test-kernels: $(INSTALLED)
	$(BIN)/python tests/kernels.py

test-kernels-quick: $(INSTALLED)
	$(BIN)/python tests/kernels.py --quick

# Exit status 2 without CUDA. Results go to benchmarks/results/gpu_NAME.txt.
gpu: $(INSTALLED)
	$(BIN)/python benchmarks/gpu.py

# All stages of calculators/silicon, from its data on: of the order of an hour and a half of one core.
silicon: $(INSTALLED)
	$(BIN)/python benchmarks/data/silicon_sw.py benchmarks/data/silicon_sw.extxyz
	$(BIN)/ase-pet train benchmarks/data/silicon_sw.toml --output runs/silicon-sw
	$(BIN)/ase-pet train benchmarks/data/silicon_first.toml --output runs/silicon-first
	$(BIN)/ase-pet train benchmarks/data/silicon_second.toml --output runs/silicon-second
	$(BIN)/ase-pet train benchmarks/data/silicon_third.toml --output runs/silicon-third
	$(BIN)/ase-pet train benchmarks/data/silicon_fourth.toml --output runs/silicon-fourth
	$(BIN)/ase-pet train benchmarks/data/silicon_fifth.toml --output runs/silicon-fifth
	$(BIN)/ase-pet train benchmarks/data/silicon_sixth.toml --output runs/silicon-sixth
	$(BIN)/ase-pet train calculators/silicon/recipe.toml --output runs/silicon

# calculators/ethanol from its training data on: of the order of six hours of one core. tblite makes the data of the first
# stage; how training_sum.extxyz.xz and training_own.extxyz.xz were made stands in benchmarks/data/ethanol_difference.py and
# ethanol_dynamics.py.
ethanol: $(INSTALLED)
	$(PIP) install --quiet $(PIP_ARGS) tblite
	$(BIN)/python benchmarks/data/ethanol_gfn2.py benchmarks/data/ethanol_gfn2.extxyz
	$(BIN)/ase-pet train benchmarks/data/ethanol_gfn2.toml --output runs/ethanol-gfn2
	$(BIN)/ase-pet train benchmarks/data/ethanol_first.toml --output runs/ethanol-first
	$(BIN)/ase-pet train benchmarks/data/ethanol_sum.toml --output runs/ethanol-sum
	$(BIN)/ase-pet train benchmarks/data/ethanol_second.toml --output runs/ethanol-second
	$(BIN)/ase-pet train benchmarks/data/ethanol_third.toml --output runs/ethanol-third
	$(BIN)/ase-pet train benchmarks/data/ethanol_fourth.toml --output runs/ethanol-fourth
	$(BIN)/ase-pet train calculators/ethanol/recipe.toml --output runs/ethanol

# calculators/ethanol-ponita from the same data on: of the order of two hours of one core.
ethanol-ponita: $(INSTALLED)
	$(BIN)/ase-pet train benchmarks/data/ethanol_ponita_first.toml --output runs/ethanol-ponita-first
	$(BIN)/ase-pet train benchmarks/data/ethanol_ponita_second.toml --output runs/ethanol-ponita-second
	$(BIN)/ase-pet train calculators/ethanol-ponita/recipe.toml --output runs/ethanol-ponita

# calculators/ethanol-pnita from the same data: an hour of one core.
ethanol-pnita: $(INSTALLED)
	$(BIN)/ase-pet train benchmarks/data/ethanol_pnita_first.toml --output runs/ethanol-pnita-first
	$(BIN)/ase-pet train calculators/ethanol-pnita/recipe.toml --output runs/ethanol-pnita

# The calculators of elements, from the public data that benchmarks/data/mlearn.py converts into the folder DATA: of the order of
# ten minutes of one core each, silicon-general two hours. Finished stages in runs/ are not trained again.
mlearn: $(INSTALLED)
	@test -f "$(DATA)/Si_training.extxyz.xz" || { echo "DATA=$(DATA): expected a folder written by benchmarks/data/mlearn.py"; exit 2; }
	mkdir -p runs
	ln -sfn "$(abspath $(DATA))" runs/mlearn

runs/mlearn-split/%.extxyz: | mlearn
	$(BIN)/python benchmarks/data/element_data.py runs/mlearn $* $@

silicon-general: runs/silicon-general-third/weights.safetensors
	$(BIN)/ase-pet train calculators/silicon-general/recipe.toml --output runs/silicon-general

runs/silicon-general-third/weights.safetensors: runs/silicon-general-second/weights.safetensors
	$(BIN)/ase-pet train benchmarks/data/silicon_general_third.toml --output runs/silicon-general-third

runs/silicon-general-second/weights.safetensors: runs/mlearn-split/Si.extxyz runs/silicon-general-first/weights.safetensors
	$(BIN)/ase-pet train benchmarks/data/silicon_general_second.toml --output runs/silicon-general-second

runs/silicon-general-first/weights.safetensors: | mlearn
	$(BIN)/ase-pet train benchmarks/data/silicon_general_first.toml --output runs/silicon-general-first

# The others start from weights of silicon, see benchmarks/data/other_element.py.
lithium: runs/mlearn-split/Li.extxyz runs/silicon-general-first/weights.safetensors
	$(BIN)/python benchmarks/data/other_element.py runs/silicon-general-first Li runs/lithium-start --scale 0.26
	$(BIN)/ase-pet train benchmarks/data/lithium_first.toml --output runs/lithium-first
	$(BIN)/ase-pet train calculators/lithium/recipe.toml --output runs/lithium

molybdenum: runs/mlearn-split/Mo.extxyz runs/silicon-general-first/weights.safetensors
	$(BIN)/python benchmarks/data/other_element.py runs/silicon-general-first Mo runs/molybdenum-start --scale 1.5
	$(BIN)/ase-pet train benchmarks/data/molybdenum_first.toml --output runs/molybdenum-first
	$(BIN)/ase-pet train calculators/molybdenum/recipe.toml --output runs/molybdenum

germanium: runs/mlearn-split/Ge.extxyz runs/silicon-general-second/weights.safetensors
	$(BIN)/python benchmarks/data/other_element.py runs/silicon-general-second Ge runs/germanium-start --stretch 1.05 --scale 0.66
	$(BIN)/ase-pet train calculators/germanium/recipe.toml --output runs/germanium

clean:
	rm -rf $(VENV) demo site build dist ase_pet.egg-info .pytest_cache .ruff_cache
	find . -name .git -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
