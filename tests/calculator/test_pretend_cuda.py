"""Everything on a pretended GPU: no mixed devices, few transfers, the numbers of the CPU."""

import numpy as np
import pytest
import torch
from ase import units
from ase.build import bulk
from ase.md.verlet import VelocityVerlet

import argon
import local_toys
import ponita_toys
import toys
from ase_pet import PETCalculator, checks, phonons
from ase_pet.heat_flux import heat_flux
from ase_pet.models import mace
from ase_pet.train.run import train
from paths import DATA
from pretend_cuda import CUDA, MixedDevices, pretend_cuda
from tolerances import TOLERANCES, worst


def quick(name):
    """A case of the quick tests."""
    return name


def slow(name):
    """A case of the slow tests."""
    return pytest.param(name, marks=pytest.mark.slow)


QUICK = dict.fromkeys(
    ("PET", "PET, one layer", "PET, grid", "PONITA", "PNITA", "MACE", "ecse", "group"), quick
)
SAME = TOLERANCES[torch.float64]["same"]
FORCES = ("energy", "forces")


def tiny_mace(**changes):
    torch.manual_seed(0)
    settings = mace.Settings(
        species=local_toys.SPECIES,
        cutoff=4.0,
        width=4,
        num_bessel=4,
        radial_widths=(8,),
        readout_width=3,
        degree=2,
        **changes,
    )
    return mace.Model(settings).double().requires_grad_(False)


def published():
    """File of a PET with an adaptive cutoff and heads for forces and stress."""
    return str(DATA / "pet_direct_heads.ckpt")


MODELS = {
    "PET": toys.tiny_pet,
    "PET, one layer": local_toys.local_pet,
    "PET, grid": lambda: toys.tiny_pet("grid"),
    "PET, solver": lambda: toys.tiny_pet("solver"),
    "PET, original": lambda: toys.tiny_pet("original"),
    "PET, zbl and charge": lambda: toys.tiny_pet("zbl", system_conditioning=True),
    "PET, published": published,
    "PONITA": lambda: ponita_toys.tiny_ponita("dipole"),
    "PNITA": lambda: ponita_toys.tiny_ponita("PNITA"),
    "MACE": tiny_mace,
    "MACE, density": lambda: tiny_mace(density=(True, True), pair_repulsion=True),
}
# transfers to the device, from it, and other waits of one step with energy, forces and stress
BUDGETS = {
    "PET": (1, 1, 0),
    "PET, one layer": (1, 1, 0),
    "PET, grid": (1, 1, 0),
    "PET, solver": (1, 1, 0),
    "PET, original": (1, 1, 0),
    "PET, zbl and charge": (1, 1, 0),
    "PET, published": (1, 1, 0),
    "PONITA": (1, 1, 0),
    "PNITA": (1, 1, 0),
    "MACE": (1, 3, 2),
    "MACE, density": (1, 3, 2),
}
SYMMETRISED = {
    "ecse": (local_toys.local_pet, "ecse", (1, 5, 16)),
    "ecse_layers": (toys.tiny_pet, "ecse_layers", (1, 10, 40)),
    "group": (local_toys.local_pet, "group:O", (1, 1, 2)),
    "group, two layers": (toys.tiny_pet, "group:O", (1, 1, 2)),
    "quadrature": (local_toys.local_pet, "quadrature:2", (1, 1, 2)),
    "PNITA, ecse": (lambda: ponita_toys.tiny_ponita("PNITA", num_layers=1), "ecse", (1, 5, 16)),
}


def calculators(make, **options):
    """The same calculator on the CPU and on the device."""
    options.setdefault("dtype", "float64")
    return [PETCalculator(make(), device=device, **options) for device in ("cpu", "cuda")]


def moved(atoms):
    atoms = atoms.copy()
    atoms.rattle(0.01, seed=7)
    return atoms


def check_step(make, counts, budget, **options):
    """Forces as of the CPU, and at most a budget of transfers in the second step."""
    atoms = toys.silicon()
    properties = (*FORCES, "stress")
    expected, found = calculators(make, **options)
    found.calculate(atoms, properties)
    found.calculate(moved(atoms), properties, ["positions"])
    counts.clear()
    found.calculate(atoms, properties, ["positions"])
    assert found._neighbours.searches == 1
    assert counts["up"] <= budget[0]
    assert counts["down"] <= budget[1]
    assert counts["wait"] <= budget[2]
    expected.calculate(atoms, properties)
    for name in properties:
        assert worst(found.results[name], expected.results[name]) < SAME


@pytest.fixture
def counts():
    """Counts of transfers of the pretended device, which is there for the test."""
    with pretend_cuda() as counts:
        yield counts


def test_the_device_refuses_what_a_gpu_refuses(counts):
    host = torch.arange(3.0)
    device = host.to("cuda")
    assert device.device == CUDA == torch.zeros(2, device="cuda").device
    with pytest.raises(MixedDevices):
        device + host
    with pytest.raises(MixedDevices):
        device.index_select(0, torch.tensor([1]))
    with pytest.raises(MixedDevices):
        host.add_(device)
    with pytest.raises(TypeError, match="can't convert cuda"):
        device.numpy()
    with pytest.raises(TypeError, match="can't convert cuda"):
        np.asarray(device)
    assert counts["up"] == 1
    assert counts["wait"] == 0
    assert (device * torch.tensor(2.0)).tolist() == [0, 2, 4]  # a number may be the host's
    assert float(device.sum()) == 3
    assert (counts["down"], counts["wait"]) == (1, 1)
    device[device > 1]
    assert counts["wait"] == 2


def test_derivatives_on_the_device():
    x = torch.arange(3.0, dtype=torch.float64)
    with pretend_cuda():
        on_device = x.to("cuda").requires_grad_()
        (gradient,) = torch.autograd.grad((on_device**3).sum(), on_device, create_graph=True)
        (second,) = torch.autograd.grad(gradient.sum(), on_device)
        assert second.device == CUDA
        torch.testing.assert_close(second.cpu(), 6 * x)


@pytest.mark.parametrize("name", [QUICK.get(name, slow)(name) for name in MODELS])
def test_steps(name, counts):
    check_step(MODELS[name], counts, BUDGETS[name])


@pytest.mark.parametrize("name", [QUICK.get(name, slow)(name) for name in SYMMETRISED])
def test_steps_of_symmetrised_models(name, counts):
    make, symmetriser, budget = SYMMETRISED[name]
    check_step(make, counts, budget, symmetrise=symmetriser)


@pytest.mark.parametrize("name", ["PET, grid", "PONITA", slow("MACE, density")])
def test_batches(name, counts):
    expected, found = calculators(MODELS[name])
    structures = [toys.silicon(), toys.sheared()]
    counts.clear()
    results = found.evaluate(structures, (*FORCES, "stress"))
    assert counts["up"] <= 2  # one for weights or tables that were not on the device yet
    for one, other in zip(results, expected.evaluate(structures, (*FORCES, "stress")), strict=True):
        for key, value in one.items():
            assert worst(value, other[key]) < SAME


@pytest.mark.parametrize("name", ["PET, one layer", slow("PET, grid"), slow("MACE")])
def test_second_derivatives(name, counts):
    atoms = toys.ethanol()[:2]
    first, second = (calculator.hessian(atoms) for calculator in calculators(MODELS[name]))
    assert worst(second, first) < SAME
    displacements = [(0, [0.01, 0, 0]), (1, [0, 0.01, 0])]
    on_host, on_device = (
        calculator.displaced_forces(atoms, displacements)
        for calculator in calculators(MODELS[name])
    )
    assert worst(on_device, on_host) < SAME


@pytest.mark.parametrize("direct", ["stress", slow(True), slow("forces")])
def test_direct_heads(direct, counts):
    expected, found = calculators(published, non_conservative=direct)
    atoms = toys.silicon()
    for calculator in (expected, found):
        calculator.calculate(atoms, (*FORCES, "stress"))
    for name in ("forces", "stress"):
        assert worst(found.results[name], expected.results[name]) < SAME


@pytest.mark.slow
def test_uncertainties_dipoles_and_stresses_of_atoms(counts):
    def make():
        heads = {"energy": 1, "dipole": 3}
        return toys.tiny_pet(heads=heads, uncertainties={"energy": 3})

    expected, found = calculators(make)
    for atoms in (toys.silicon(), toys.ethanol()):
        periodic = ["stress", "stresses", "stress_uncertainty"]
        absent = ["dipole"] if atoms.pbc.any() else periodic
        properties = [name for name in found.implemented_properties if name not in absent]
        for calculator in (expected, found):
            calculator.calculate(atoms, properties)
        for name in properties:
            assert worst(found.results[name], expected.results[name]) < SAME


def test_heat_flux(counts):
    atoms = toys.silicon()
    atoms.set_velocities(0.01 * np.random.default_rng(0).normal(size=(8, 3)))
    on_host, on_device = (
        heat_flux(calculator, atoms) for calculator in calculators(local_toys.local_pet)
    )
    assert worst(on_device, on_host) < SAME


def test_molecular_dynamics(counts):
    """Three steps with a reused list: a transfer up and one down in each."""
    ends = []
    for calculator in calculators(toys.tiny_pet):
        atoms = toys.silicon()
        atoms.calc = calculator
        run = VelocityVerlet(atoms, 0.05 * units.fs)
        run.run(1)
        counts.clear()
        run.run(3)
        ends.append(atoms.positions)
    assert (counts["up"], counts["down"], counts["wait"]) == (3, 3, 0)
    assert worst(ends[1], ends[0]) < SAME


@pytest.mark.slow
def test_phonons(counts):
    frequencies = []
    for calculator in calculators(local_toys.local_pet):
        atoms = bulk("Si")
        atoms.calc = calculator
        spectrum = phonons.run(
            atoms, (1, 1, 1), mesh=(2, 2, 2), temperature_max=100, allow_forces=True
        )
        frequencies.append(spectrum.phonopy.run_qpoints([(0.5, 0, 0.5)]).frequencies)
    assert worst(frequencies[1], frequencies[0]) < 1e-6  # THz: roots of rounding


def test_checks(counts):
    names = ["gradients", "rotation", "batch", "determinism"]
    on_host, on_device = (
        [
            (result.quantity, result.status, result.note)
            for result in checks.run(calculator, {"ethanol": toys.ethanol()[:4]}, only=names)
        ]
        for calculator in calculators(ponita_toys.tiny_ponita)
    )
    assert on_device == on_host
    assert "pass" in {status for _, status, _ in on_device}


@pytest.mark.slow
def test_training(tmp_path, recipe):
    path = recipe(epochs=1, dtype="float64")
    with pretend_cuda():
        train(path, tmp_path / "run", device="cuda")
    calculator = PETCalculator(tmp_path / "run")
    assert np.isfinite(calculator.evaluate(argon.structures()[:1])[0]["forces"]).all()
