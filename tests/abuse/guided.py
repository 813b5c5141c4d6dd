"""Bodies made by Atheris, which sees what branches of a decoder a body reaches, and goes on from what reaches new ones.

Hypothesis makes bodies from what we know of the formats; this makes them from what the code does. What a decoder must
do with them is the same: read them as its test says, or refuse them.

    python -m tests.abuse.guided            all decoders, a process each
    python -m tests.abuse.guided arrow      one of them
    python -m tests.abuse.guided broken     one that must fail
"""

from __future__ import annotations

import argparse
import gc
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

MAX_BYTES = 2048
SLOWEST_S = 10
"""A body that takes longer is a defect."""

Check = Callable[[bytes], object]


def rows() -> tuple[Check, Iterable[bytes]]:
    """Rows in JSON, held against the slow reading."""
    from tests.abuse.test_fuzz_bodies import SMALL, compare
    from tests.service.hostile_payloads import ACCEPTED

    return compare, [*ACCEPTED.values(), *(payload.body for payload in SMALL)]


def v2_json() -> tuple[Check, Iterable[bytes]]:
    """Open Inference requests in JSON alone."""
    from tests.abuse.outcomes import check
    from tests.abuse.test_fuzz_open_inference import outcome
    from tests.service.open_inference import body, good

    return lambda text: check(outcome(text)), [body(good())]


def v2_binary() -> tuple[Check, Iterable[bytes]]:
    """Open Inference requests with raw bytes; the first two bytes say how long the JSON is."""
    from tests.abuse.outcomes import check
    from tests.abuse.test_fuzz_open_inference import outcome
    from tests.service.hostile_payloads import ROW
    from tests.service.open_inference import binary

    text, json_bytes = binary(ROW, ROW)
    return (
        lambda made: check(outcome(made[2:], int.from_bytes(made[:2], "little"))),
        [json_bytes.to_bytes(2, "little") + text],
    )


def known_json() -> tuple[Check, Iterable[bytes]]:
    """The same in JSON, the short way of forms that earlier ones left, held against the long way."""
    from tests.service.hostile_payloads import ROW
    from tests.service.known_forms import check, taught
    from tests.service.open_inference import body, request
    from tests.support.handmade import BINARY

    seeds = [body(request(ROW)), body(request(ROW, dict.fromkeys(ROW)))]
    reader = taught(*((seed, None) for seed in seeds), signature=BINARY)
    return lambda text: check(reader, text, None, BINARY), seeds


def known_binary() -> tuple[Check, Iterable[bytes]]:
    """The same with raw bytes; the first two bytes say how long the JSON is."""
    from tests.service.known_forms import ROW, binary_of, check, taught
    from tests.support.handmade import BINARY

    text, json_bytes = binary_of(ROW, ROW)
    reader = taught((text, json_bytes), signature=BINARY)
    return (
        lambda made: check(reader, made[2:], int.from_bytes(made[:2], "little"), BINARY),
        [json_bytes.to_bytes(2, "little") + text],
    )


def grpc() -> tuple[Check, Iterable[bytes]]:
    """Messages of ModelInfer, the short way under heads that earlier ones left, held against the long way."""
    from rowcast.service.protocols.grpc.reading import MessageReader
    from tests.abuse.test_fuzz_grpc import RIGHT, SIGNATURE, Message, compare

    reader = MessageReader(len(SIGNATURE.columns))
    sent = Message(model_name="flights")
    for column in SIGNATURE.columns:
        datatype = RIGHT[column.kind]
        sent.inputs.add(name=column.name, datatype=datatype, shape=[2])
        sent.raw_input_contents.append(b"\2\0\0\0UA" * 2 if datatype == "BYTES" else bytes(16))
    return lambda body: compare(reader, body), [sent.SerializeToString()]


def arrow() -> tuple[Check, Iterable[bytes]]:
    """Arrow streams, also under heads that earlier ones left, and block by block held against column by column.

    What each takes is held to its bounds.
    """
    from rowcast.models.arrow import Malformed
    from rowcast.service.protocols.arrow.stream import ArrowReader
    from tests.abuse.bounds import taken_in_steps
    from tests.abuse.test_arrow_bounds import check as check_bounds
    from tests.abuse.test_arrow_bounds import steps
    from tests.abuse.test_fuzz_arrow import LIMITS, OWN_STREAM, SIGNATURE, STREAMS, USUAL_STREAM, compare, read_whole

    reader = ArrowReader(SIGNATURE, *LIMITS)
    gc.freeze()  # what this process holds already is not looked through while something is measured

    def check(body: bytes) -> None:
        compare(reader, body)
        with suppress(Malformed):
            read_whole(body)
        check_bounds(body, taken_in_steps(lambda: steps(reader, body)))

    return check, [*STREAMS, USUAL_STREAM, OWN_STREAM]


def broken() -> tuple[Check, Iterable[bytes]]:
    """A decoder with a defect, behind a branch that it takes some luck to reach."""
    from rowcast.service.columns.tensor_bytes import from_raw

    def check(body: bytes) -> None:
        with suppress(ValueError):
            assert len(from_raw("BYTES", body, 2)) != 2

    return check, [b""]


DECODERS = {decoder.__name__: decoder for decoder in (rows, v2_json, v2_binary, known_json, known_binary, grpc, arrow)}
CONTROL = {broken.__name__: broken}


def fuzz(decoder: str, cases: int, corpus: Path) -> None:
    """Try so many bodies on a decoder; ends the process, with another code than 0 when one of them fails a check."""
    import atheris

    with atheris.instrument_imports(include=["rowcast.service", "rowcast.models"], enable_loader_override=False):
        check, seeds = (DECODERS | CONTROL)[decoder]()
    for number, seed in enumerate(seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    told = [f"-runs={cases}", f"-max_len={MAX_BYTES}", f"-timeout={SLOWEST_S}", "-seed=1", "-verbosity=0"]
    atheris.Setup([sys.argv[0], *told, f"-artifact_prefix={corpus}/failed-", str(corpus)], check)
    atheris.Fuzz()


def main() -> int:
    """Fuzz each decoder in a process of its own: Atheris ends the one it runs in."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("decoders", nargs="*", help=f"of {', '.join(DECODERS)}; all when there is none")
    parser.add_argument("--cases", type=int, default=200_000, help="bodies for each decoder")
    parser.add_argument("--here", type=Path, help="fuzz in this process, with this folder for the bodies")
    given = parser.parse_args()
    if unknown := [name for name in given.decoders if name not in DECODERS | CONTROL]:
        parser.error(f"decoders are {', '.join(DECODERS)}, got {', '.join(unknown)}")
    if not find_spec("atheris"):
        print("Atheris is not installed: pip install 'rowcast[fuzz]'", file=sys.stderr)
        return 2
    if given.here:
        fuzz(given.decoders[0], given.cases, given.here)
    failed = 0
    for name in given.decoders or DECODERS:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "tests.abuse.guided", name, "--cases", str(given.cases), "--here", folder]
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
            how = "one of them fails" if done.returncode else "all read or refused"
            print(f"{name}: {given.cases:,} bodies, {how}", flush=True)
            if done.returncode:
                failed += 1
                print(done.stdout[-2000:], done.stderr[-6000:], sep="\n")
                for file in Path(folder).glob("failed-*"):
                    print(f"the body: {file.read_bytes()!r}")
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
