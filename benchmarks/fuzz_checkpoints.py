"""Fuzzing of the checkpoint readers: mutants refused with a ValueError, read, or executed.

    python benchmarks/fuzz_checkpoints.py [--mutants 500] [--seed 0] [CHECKPOINT ...]

Each checkpoint (a `.ckpt` of metatrain, a `.model` of mace-torch, or the folder of a run of the
original PET) is mutated in several ways, and every mutant is read as `PETCalculator(path)` would
read it. A reader may refuse with ValueError that names the path, or read; a mutant that is read
although its checksums were left alone must hold the same numbers. An audit hook of Python counts
every process, compilation, import and file opened for writing that a reader causes: all must be 0.
"""

import argparse
import io
import pickletools
import platform
import resource
import shutil
import sys
import tempfile
import time
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import torch

from ase_pet import PETCalculator, formats
from ase_pet.store import load

ROOT = Path(__file__).resolve().parent.parent
DEFAULT = [
    ROOT / "tests" / "data" / name
    for name in ("pet_direct_heads.ckpt", "pet_llpr.ckpt", "original_pet")
]
WATCHED = (
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "subprocess.Popen",
    "compile",
    "exec",
    "import",
    "pickle.find_class",
    "ctypes.dlopen",
    "socket.connect",
    "shutil.rmtree",
    "os.remove",
    "os.rename",
)
HOSTILE = (
    b"cos\nsystem\n",
    b"cbuiltins\neval\n",
    b"cbuiltins\nexec\n",
    b"csubprocess\nPopen\n",
    b"cimportlib\nimport_module\n",
    b"ctorch.hub\nload\n",
    b"ce3nn.util.jit\ncompile\n",
    b"cnumpy\nload\n",
)
watching, events = False, Counter()


def watch(event, arguments):
    """Audit hook: count events that a reader of data must not cause."""
    writes = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
    codec = "encodings" in str(arguments[:1])  # zipfile looks up cp437 for odd names of records
    if watching and not codec and (event in WATCHED or writes):
        events[f"{event} {arguments[0]!r}"[:160]] += 1


def flip(data, random, count=3):
    """One to `count` flipped bits."""
    data = bytearray(data)
    for place in random.integers(0, len(data), random.integers(1, count + 1)):
        data[place] ^= 1 << int(random.integers(0, 8))
    return bytes(data)


def truncate(data, random):
    """The data cut off at a random length."""
    return data[: int(random.integers(0, len(data)))]


def scramble(data, random):
    """The data with one piece overwritten by another piece of the same file."""
    size = int(random.integers(1, 200))
    source, target = random.integers(0, max(1, len(data) - size), 2)
    return data[:target] + data[source : source + size] + data[target + size :]


def within_records(data, random):
    """Bits flipped in one record of a zip archive, with a checksum that fits the damage."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    names = [name for name, content in records.items() if content]
    weights = np.array([5.0 if name.endswith(".pkl") else 1.0 for name in names])
    chosen = str(random.choice(names, p=weights / weights.sum()))
    records[chosen] = (flip if random.random() < 0.7 else scramble)(records[chosen], random)
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w") as archive:
        for name, content in records.items():
            archive.writestr(name, content)
    return output.getvalue()


def without_record(data, random):
    """One record of a zip archive left out, or written twice."""
    output = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(output, "w") as new:
        chosen, twice = str(random.choice(old.namelist())), random.random() < 0.3
        for name in old.namelist():
            if name != chosen or twice:
                new.writestr(name, old.read(name))
            if name == chosen and twice:
                new.writestr(name + "x", old.read(name))
    return output.getvalue()


def other_classes(data, random):
    """One class that a pickle in a zip archive names replaced, most often by one that runs code."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    chosen = next(name for name in records if name.endswith(".pkl"))
    named = [
        (place, place + len(names) + 3)  # c MODULE NEWLINE NAME NEWLINE; genops has a space there
        for opcode, names, place in pickletools.genops(records[chosen])
        if opcode.name == "GLOBAL"
    ]
    start, end = named[int(random.integers(0, len(named)))]
    others = [records[chosen][a:b] for a, b in named]
    choices = HOSTILE if random.random() < 0.7 else others
    replacement = choices[int(random.integers(0, len(choices)))]
    records[chosen] = records[chosen][:start] + replacement + records[chosen][end:]
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w") as archive:
        for name, content in records.items():
            archive.writestr(name, content)
    return output.getvalue()


def long_numbers(data, random):
    """Four random bytes set to the largest number, like a wrong size field."""
    place = int(random.integers(0, max(1, len(data) - 4)))
    return data[:place] + b"\xff\xff\xff\x7f" + data[place + 4 :]


MUTATIONS = {
    "truncated": truncate,
    "bits flipped": flip,
    "pieces moved": scramble,
    "huge numbers": long_numbers,
    "bits flipped, checksum fits": within_records,
    "records missing": without_record,
    "other classes": other_classes,
}
CHECKED = (
    "truncated",
    "bits flipped",
    "pieces moved",
    "huge numbers",
)  # the checksums of the archive detect these


def outcome(path, expected, kind, watched=True):
    """ "refused", "read", or what went wrong."""
    global watching
    try:
        watching = watched
        model = load(path)[0]
    except (ValueError, FileNotFoundError) as error:
        return (
            "refused" if str(path) in str(error) else f"refused without the path: {str(error)[:60]}"
        )
    except Exception as error:  # any other exception is a defect
        return f"{type(error).__name__}: {str(error)[:60]}"
    finally:
        watching = False
    if kind in CHECKED and expected is not None and not same(model, expected):
        return "READ WITH OTHER NUMBERS"
    return "read"


def same(one, two):
    """Whether two models hold the same numbers."""
    first, second = one.state_dict(), two.state_dict()
    return (
        first.keys() == second.keys()
        and all(torch.equal(first[name], second[name]) for name in first)
        and one.compositions == two.compositions
        and one.scales == two.scales
    )


def fuzz(source, mutants, random):
    """Rows (file, mutation, Counter of outcomes, longest time in s) of one checkpoint."""
    expected = formats.read(source)
    PETCalculator(source)
    files = (
        [source]
        if source.is_file()
        else sorted(path for path in source.iterdir() if path.suffix != ".npz")
    )
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / source.name
        (Path(folder) / "text.ckpt").write_text("PK")
        outcome(
            Path(folder) / "text.ckpt", None, "truncated", watched=False
        )  # modules that are imported at the first refusal
        for file in files:
            if source.is_dir():
                shutil.copytree(source, target, dirs_exist_ok=True)
            place, data = (target if source.is_file() else target / file.name), file.read_bytes()
            is_zip = data[:2] == b"PK"
            for kind in (kind for kind in MUTATIONS if is_zip or kind in CHECKED):
                outcomes, longest = Counter(), 0.0
                for _ in range(mutants):
                    place.write_bytes(MUTATIONS[kind](data, random))
                    start = time.perf_counter()
                    outcomes[outcome(target, expected if is_zip else None, kind)] += 1
                    longest = max(longest, time.perf_counter() - start)
                yield (
                    f"{source.name}/{file.name}" if source.is_dir() else source.name,
                    kind,
                    outcomes,
                    longest,
                )
            place.write_bytes(data)


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoints", nargs="*", type=Path)
    parser.add_argument("--mutants", type=int, default=500, help="of each kind and file")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    sys.addaudithook(watch)
    random, total, before = np.random.default_rng(arguments.seed), Counter(), None
    print(
        f"{platform.platform()}, Python {platform.python_version()}, torch {torch.__version__}, "
        f"{arguments.mutants} mutants of each kind and file, seed {arguments.seed}"
    )
    print(
        f"{'file':58s} {'mutation':28s} {'refused':>8s} {'read':>6s} {'other':>6s}"
        f" {'longest s':>10s}"
    )
    for source in arguments.checkpoints or DEFAULT:
        for name, kind, outcomes, longest in fuzz(source, arguments.mutants, random):
            before = before or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            total += outcomes
            other = sum(outcomes.values()) - outcomes["refused"] - outcomes["read"]
            print(
                f"{name:58s} {kind:28s} {outcomes['refused']:8d} {outcomes['read']:6d} {other:6d}"
                f" {longest:10.3f}",
                flush=True,
            )
    growth = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"{sum(total.values())} mutants: {dict(total)}")
    print(
        f"processes, compilations, imports, files written by the readers: {dict(events) or 'none'}"
    )
    print(f"peak memory after the first kind grew by {growth:.0f} MB")
    sys.exit(bool(events) or bool(total.keys() - {"refused", "read"}))


if __name__ == "__main__":
    main()
