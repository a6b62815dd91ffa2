"""Holds docs/spec-schema.json against tests/fixtures/spec_corpus.json with the reference validator for Python.

The same corpus runs against the plugin's own checks in `cargo test`: together they show that a spec is valid by the schema
if and only if Init accepts it, but for the cases with `valid_by_schema`: limits that only the code knows, since a
pattern of them could not be read. `just test-schema` runs this with the pinned validator.
"""

import json
import pathlib
import sys

from jsonschema import Draft202012Validator

ROOT = pathlib.Path(__file__).parent.parent


def main() -> int:
    schema = json.loads((ROOT / "docs/spec-schema.json").read_text(encoding="utf-8"))
    corpus = json.loads((ROOT / "tests/fixtures/spec_corpus.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
    if not corpus:
        print("the corpus is empty")
        return 1
    wrong = 0
    for case in corpus:
        errors = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(case["spec"])]
        valid = case.get("valid_by_schema", case["valid"])
        if valid == bool(errors):
            wrong += 1
            print(f"{case['name']}: corpus says valid={valid}, the schema says {errors or 'valid'}")
    print(f"{len(corpus)} specs, {wrong} on which schema and corpus differ")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
