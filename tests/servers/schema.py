"""Validates documents: reads {"schema", "documents"}, writes the first error of each, or null."""

import json
import sys

from jsonschema import Draft7Validator

asked = json.load(sys.stdin)
Draft7Validator.check_schema(asked["schema"])
validator = Draft7Validator(asked["schema"])
first = (next(validator.iter_errors(document), None) for document in asked["documents"])
json.dump([error and f"{error.json_path}: {error.message}"[:300] for error in first], sys.stdout)
