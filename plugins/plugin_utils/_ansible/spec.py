# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible's argument spec validator, kept from what some of its releases trip over."""

from __future__ import annotations

import typing as t

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator, ValidationResult
from ansible.module_utils.errors import ArgumentValueError


class SpecValidator(ArgumentSpecValidator):
    """Validates as Ansible does, lists of numbers with choices included.

    ansible-core before 2.19 raises TypeError where such a list has a number that is none of the choices.
    """

    def __init__(self, spec: t.Mapping[str, t.Mapping[str, t.Any]]) -> None:
        self._choices: dict[str, t.Sequence[int]] = {
            name: argument["choices"]
            for name, argument in spec.items()
            if argument.get("elements") == "int" and "choices" in argument
        }
        super().__init__({name: self._without_choices(name, argument) for name, argument in spec.items()})

    def _without_choices(self, name: str, argument: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
        return {key: value for key, value in argument.items() if key != "choices" or name not in self._choices}

    def validate(self, parameters: t.Mapping[str, t.Any], *args: t.Any, **kwargs: t.Any) -> ValidationResult:
        """Return what Ansible makes of the parameters, with its own error for a number that is none of the choices."""
        result = super().validate(dict(parameters), *args, **kwargs)
        for name, choices in self._choices.items():
            value = result.validated_parameters.get(name)
            # What could not be made a number has an error already.
            numbers = [item for item in value if isinstance(item, int)] if isinstance(value, list) else []
            unknown = [str(number) for number in numbers if number not in choices]
            if unknown:
                accepted = ", ".join(map(str, choices))
                text = f"value of {name} must be one or more of: {accepted}. Got no match for: {', '.join(unknown)}"
                result.errors.append(ArgumentValueError(text))
        return result
