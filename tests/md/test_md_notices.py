"""A restart notices what changed since its run began; numbers that are not finite never pass."""

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.calculators.mixing import SumCalculator
from ase.constraints import FixAtoms, FixBondLengths, FixLinearTriatomic

import laws
import springs
import toys
from ase_pet import PETCalculator, md, store

FILES = ("trajectory.traj", "thermo.csv", "state.npz", "final.extxyz")


class Kill(BaseException):
    """Simulated kill of the process."""


def kill(step, temperature):
    if step == 20:
        raise Kill


def run(atoms, folder, **values):
    defaults = {"timestep": 5.0, "time": 0.15, "interval": 3, "thermo_interval": 2, "checkpoint": 7}
    return md.run(atoms, folder, **defaults | values)


def contents(folder):
    return {name: (folder / name).read_bytes() for name in FILES}


def stop(atoms, folder, **values):
    with pytest.raises(Kill):
        run(atoms, folder, on_step=kill, **values)


def copper():
    atoms = springs.copper()
    atoms.calc = EMT()
    return atoms


def heavier(atoms):
    atoms.set_masses([65.0] * len(atoms))


def isotope(atoms):
    masses = atoms.get_masses()
    masses[0] += 1
    atoms.set_masses(masses)


def fixed(atoms):
    atoms.set_constraint(FixAtoms([0]))


def charged(atoms):
    atoms.info["charge"] = 1


def spinning(atoms):
    atoms.info["spin"] = 3


def magnetic(atoms):
    atoms.set_initial_magnetic_moments([1.0, 0, 0, 0])


def moved(atoms):
    atoms.positions[0, 0] += 1e-3


def strained(atoms):
    atoms.set_cell(1.001 * atoms.cell.array)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (heavier, "masses"),
        (isotope, "masses"),
        (fixed, "constraints"),
        (charged, "info charge"),
        (spinning, "info spin"),
        (magnetic, "initial magnetic moments"),
        (moved, "positions"),
        (strained, "positions"),
    ],
)
def test_another_structure_is_named(change, name, tmp_path):
    stop(copper(), tmp_path)
    before = (tmp_path / "thermo.csv").read_bytes()
    atoms = copper()
    change(atoms)
    with pytest.raises(ValueError, match=f"`{name}`.* of the structure"):
        run(atoms, tmp_path, restart=True)
    assert (tmp_path / "thermo.csv").read_bytes() == before
    # and in the other direction
    other = copper()
    change(other)
    stop(other, tmp_path / "other")
    with pytest.raises(ValueError, match=f"`{name}`.* of the structure"):
        run(copper(), tmp_path / "other", restart=True)


def test_other_kept_momenta_are_named(tmp_path):
    atoms = copper()
    md.thermalise(atoms, 300, np.random.default_rng(1))
    again = atoms.copy()
    again.calc = EMT()
    again.set_momenta(1.01 * atoms.get_momenta())
    stop(atoms, tmp_path, momenta="keep")
    with pytest.raises(ValueError, match="`momenta` of the structure differ"):
        run(again, tmp_path, momenta="keep", restart=True)


def test_the_last_structure_of_a_run_may_continue_it(tmp_path):
    atoms = copper()
    run(atoms, tmp_path / "run")
    run(copper(), tmp_path / "whole", time=0.3)
    run(atoms, tmp_path / "run", time=0.3, restart=True)
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")


def argon(calculator):
    atoms = laws.crystal()
    atoms.calc = calculator
    return atoms


class Hidden(laws.Function):
    """A calculator whose stiffness is no parameter."""

    def __init__(self, stiffness):
        def springy(atoms):
            rest = springs.cube().positions
            results = springs.Springs(Atoms(positions=rest))(atoms)
            return {name: stiffness * value for name, value in results.items()}

        super().__init__(springy)


def test_another_calculator_of_the_same_class_is_noticed_by_its_forces(tmp_path):
    atoms, again = springs.cube(), springs.cube()
    atoms.calc, again.calc = Hidden(1.0), Hidden(1.3)
    stop(atoms, tmp_path)
    with pytest.raises(ValueError, match=r"`calculator` is another one .* forces differ by up to"):
        run(again, tmp_path, restart=True)


def test_parts_of_sums_are_compared(tmp_path):
    first, second = laws.lennard_jones(), LennardJones(sigma=3.3, epsilon=0.01, rc=7.5, smooth=True)
    stop(argon(SumCalculator([first, first])), tmp_path)
    with pytest.raises(ValueError, match=r"`\w+` of the calculator, part 1 is"):
        run(argon(SumCalculator([first, second])), tmp_path, restart=True)


def write_calculator(folder, factor):
    model = toys.tiny_pet("local")
    parameters = dict(model.named_parameters())
    last = parameters[list(parameters)[-1]]
    last.data.mul_(factor)
    store.save(folder, model, store.Card("tiny"))


def pet(folder, **arguments):
    atoms = toys.silicon()
    atoms.calc = PETCalculator(folder, **arguments)
    return atoms


@pytest.mark.parametrize(
    ("factor", "arguments", "message"),
    [
        (1.0 + 1e-6, {}, "`weights` of the calculator changed since the run"),
        (1.0, {"symmetrise": "group:O"}, "`symmetrise` of the calculator is \"'group:O'\""),
        (1.0, {"dtype": "float64"}, "`dtype` of the calculator is \"'float64'\""),
    ],
)
def test_replaced_weights_of_the_same_path_are_named(factor, arguments, message, tmp_path):
    values = {"timestep": 0.1, "time": 0.003, "max_force": 1e9, "max_temperature": 1e9}
    write_calculator(tmp_path / "tiny", 1.0)
    stop(pet(tmp_path / "tiny"), tmp_path / "run", **values)
    write_calculator(tmp_path / "tiny", factor)
    again = pet(tmp_path / "tiny", **arguments)
    with pytest.raises(ValueError, match=message):
        run(again, tmp_path / "run", restart=True, **values)


def test_a_fingerprint_is_that_of_the_weights(tmp_path):
    write_calculator(tmp_path / "one", 1.0)
    write_calculator(tmp_path / "two", 1.01)
    prints = [PETCalculator(tmp_path / name).fingerprint() for name in ("one", "one", "two")]
    assert prints[0] == prints[1] != prints[2]
    assert len(prints[0]) == 64


def test_a_run_of_an_earlier_version_is_continued_with_a_note(tmp_path):
    stop(copper(), tmp_path)
    description = md.folders.read(tmp_path)
    del description["structure"]["fingerprints"]
    del description["calculator"]["files"]
    for name in ("equilibrate",):
        del description["settings"][name]
    md.folders.write(tmp_path, description)
    state, sizes = md.state.read(tmp_path)
    late = ("start ", "atoms forces", "atoms energy")
    old = {name: value for name, value in state.items() if not name.startswith(late)}
    md.state.write(tmp_path, old, sizes)
    with pytest.warns(UserWarning, match="begun by an earlier version, which recorded no masses"):
        assert run(copper(), tmp_path, restart=True).steps == 30


def test_other_versions_of_programs_are_noted(tmp_path):
    stop(copper(), tmp_path)
    description = md.folders.read(tmp_path)
    description["programs"]["ase"] = "3.0"
    md.folders.write(tmp_path, description)
    with pytest.warns(UserWarning, match="was begun with ase 3.0, now"):
        run(copper(), tmp_path, restart=True)


@pytest.mark.parametrize("time", [0.1, 0.145])
def test_a_time_below_what_is_done_is_refused(time, tmp_path):
    run(copper(), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ValueError, match=rf"`time` is {time} ps, but the run in .* has made 30"):
        run(copper(), tmp_path, time=time, restart=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def bonded():
    atoms = springs.cube()
    atoms.set_constraint(FixBondLengths([[0, 1], [1, 3]]))
    return atoms


def linear():
    atoms = Atoms("OCO", [[-1.16, 0, 0], [0, 0, 0], [1.16, 0, 0]])
    atoms += Atoms("OCO", [[-1.16, 1, 4], [0, 0.9, 4], [1.16, 0.8, 4]])
    atoms.calc = springs.Held(springs.Springs(atoms))
    atoms.set_constraint(FixLinearTriatomic([(0, 1, 2), (3, 4, 5)]))
    return atoms


@pytest.mark.parametrize("make", [bonded, linear])
@pytest.mark.parametrize("thermostat", ["langevin", "nose-hoover"])
def test_bond_lengths_are_those_of_the_beginning(make, thermostat, tmp_path):
    values = {"ensemble": "nvt", "thermostat": thermostat, "timestep": 1.0, "time": 0.03}
    run(make(), tmp_path / "whole", **values)
    stop(make(), tmp_path / "stopped", **values)
    run(make(), tmp_path / "stopped", restart=True, **values)
    assert contents(tmp_path / "stopped") == contents(tmp_path / "whole")


# Numbers that are not finite


class Breaks(EMT):
    """EMT with a property that is not finite from the fifth call on."""

    calls = 0

    def __init__(self, name, value):
        super().__init__()
        self.broken = name, value

    def calculate(self, *arguments, **more):
        super().calculate(*arguments, **more)
        self.calls += 1
        name, value = self.broken
        if self.calls > 4:
            self.results[name] = np.full_like(self.results[name], value)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize(
    ("ensemble", "name", "shown"),
    [
        ("nve", "stress", r"stress\[0\] is"),
        ("npt", "stress", r"stress\[0\] is"),
        ("nve", "forces", r"forces\[0\]\[0\] is"),
        ("nvt", "energy", "the energy is"),
    ],
)
def test_a_number_that_is_not_finite_ends_the_run(ensemble, name, shown, value, tmp_path):
    atoms = springs.copper(2)
    atoms.calc = Breaks(name, value)
    with np.errstate(all="ignore"), pytest.raises(md.UnstableRun, match=rf"step \d+: ({shown})"):
        run(atoms, tmp_path, ensemble=ensemble, thermo_interval=1)
    table = md.read(tmp_path)
    assert all(np.isfinite(column).all() for column in table.values())


def test_a_stress_that_is_not_finite_at_the_start_writes_no_files(tmp_path):
    atoms = copper()
    atoms.calc = Breaks("stress", np.nan)
    atoms.calc.calls = 10
    with pytest.raises(md.UnstableRun, match=r"step 0: stress\[0\] is nan"):
        run(atoms, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mass", [0.0, -1.0, np.nan, np.inf])
def test_masses_that_cannot_move_are_refused(mass, tmp_path):
    atoms = copper()
    masses = atoms.get_masses()
    masses[2] = mass
    atoms.set_masses(masses)
    with pytest.raises(
        ValueError, match=r"the mass of atom 2 \(Cu\) is .*: expected a number above 0"
    ):
        run(atoms, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_positions_and_momenta_must_be_finite(value, tmp_path):
    atoms = copper()
    atoms.set_momenta(np.full((4, 3), value))
    with pytest.raises(ValueError, match="`momenta` of the structure: row 0 is"):
        run(atoms, tmp_path, momenta="keep")
    atoms = copper()
    atoms.positions[1, 2] = value
    with pytest.raises(ValueError, match="`positions` of the structure: row 1 is"):
        run(atoms, tmp_path)


def test_a_large_drift_is_noted(tmp_path):
    atoms = springs.cube(springs.Whirl)
    with pytest.warns(UserWarning, match=r"the conserved energy drifts by .* of kT: try a shorter"):
        run(atoms, tmp_path, time=3.0, interval=100, checkpoint=100, temperature=60)
    assert "the conserved energy drifts by" in md.report.write(tmp_path).read_text()


@pytest.mark.parametrize(("drift", "noted"), [(-4.0, True), (0.1, False), (0.0, False)])
def test_a_drift_is_noted_where_it_is_significant_and_a_part_of_kt(drift, noted):
    time = np.linspace(0, 1, 200)
    noise = np.random.default_rng(0).normal(size=200)
    energy = 1e-3 * (drift * time + 1e-3 * noise)  # meV, of one atom
    table = {"step": time, "time_ps": time, "conserved_eV": energy, "temperature_K": 300 + noise}
    note = md.thermo.drift_note(table, md.summary(table, 1))
    assert (note is not None) == noted
    # kT at 300 K is 25.85 meV
    assert not noted or "0.15 of kT" in note
