"""``lightcl-edge verify``."""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lightcl_edge.commands.arguments import add_computing
from lightcl_edge.console.program import Command
from lightcl_edge.console.text import Document, count, format_bytes, printable
from lightcl_edge.errors import BundleError, ExitCode


class VerifyCommand(Command):
    """Check a bundle on this machine.

    Checks every file's hash and the head's tensors. If all files are whole, trunk and head must give the host's results
    for the golden images. Every problem is named, one a line. With --key the bundle must also be signed by that key
    (lightcl-host keygen, lightcl-host export --sign).
    """

    name = "verify"
    example = "lightcl-edge verify bundle"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("bundle", type=Path, help="bundle folder or .lclb file")
        parser.add_argument("--key", type=Path, metavar="PUB", help="the public key the bundle must be signed by (PEM)")
        add_computing(parser)

    def run(self, args: argparse.Namespace) -> Document:
        from lightcl_edge.bundle.bundle import HEAD_PARAMETERS, Bundle
        from lightcl_edge.inference.golden import check_golden

        bundle, files = Bundle.inspect(args.bundle)
        problems = {str(error): error.kind for _, error in files}
        release, errors = None, dict[str, float]()
        if args.key:
            from lightcl_edge.bundle.signature import read_public_key

            key = read_public_key(args.key)
            with _noting(problems):
                release = bundle.check_signature(key)
        wrong = {name for name, _ in files}  # named already; a link among them must not be followed
        for entry in bundle.manifest.files:
            if entry.path not in wrong:
                with _noting(problems):
                    bundle.path(entry.path)
        if HEAD_PARAMETERS not in wrong:
            with _noting(problems):
                bundle.head_parameters()
        if not problems:
            with _noting(problems):
                errors = check_golden(bundle, args.threads, args.provider)
        for problem in problems:  # --quiet hides notes, never errors
            print(f"error: {printable(problem)}", file=sys.stderr)
        return {
            "ok": not problems,
            "problems": list(problems),
            "kinds": list(problems.values()),
            "bundle": str(args.bundle),
            "identity": bundle.identity,
            "signed": bundle.signature() is not None,
            "signature_checked": release is not None,
            "release": release,
            "files": len(bundle.manifest.files),
            "bytes": sum(entry.bytes for entry in bundle.manifest.files),
            **errors,
        }

    def render(self, document: Document) -> str:
        size = f"{document['files']} files, {format_bytes(document['bytes'])}"
        if not document["ok"]:
            return f"{document['bundle']}: {count(len(document['problems']), 'problem')} ({size})"
        signature = "not asked for (--key)" if document["signed"] else "none"
        if document["signature_checked"]:
            signature = f"good, release {document['release']}"
        return (
            f"{document['bundle']}: good ({size})\n"
            f"  signature: {signature}\n"
            f"  golden images: features differ by {document['feature_error']:.1e}, "
            f"logits by {document['logit_error']:.1e}, taps by {document['tap_error']:.1e} (relative, root mean square)"
        )

    def exit_code(self, document: Document) -> ExitCode:
        """3 when there is a problem."""
        return ExitCode.DONE if document["ok"] else ExitCode.BAD_BUNDLE


@contextmanager
def _noting(problems: dict[str, str]) -> Iterator[None]:
    """Add what a check finds wrong, with the error's kind, if it is new."""
    try:
        yield
    except BundleError as error:
        problems.setdefault(str(error), error.kind)
