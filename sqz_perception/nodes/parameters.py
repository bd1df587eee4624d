# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""
Parameters, each declared once: its default, what it means, what it may be, when it may change.

A live parameter changes at once. Any other is read when the node configures; while the node is
configured a change is refused, and the answer says what to do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.node import Node
from rclpy.parameter import Parameter

Number = int | float


@dataclass(frozen=True)
class Declared:
    """One parameter. ``within`` is a (lowest, highest) pair or a tuple of the allowed words."""

    name: str
    default: Any
    description: str
    within: tuple[Number, Number] | tuple[str, ...] = ()
    live: bool = False
    dynamic: bool = False  # any type goes: for a text that may look like a number

    def descriptor(self) -> ParameterDescriptor:
        descriptor = ParameterDescriptor(
            name=self.name, description=self.description, dynamic_typing=self.dynamic
        )
        if self._is_words():
            descriptor.additional_constraints = f'one of: {", ".join(map(str, self.within))}'
        elif isinstance(self.default, float):
            low, high = map(float, self.within)
            descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
        elif isinstance(self.default, int) and self.within:
            low, high = map(int, self.within)
            descriptor.integer_range = [IntegerRange(from_value=low, to_value=high, step=1)]
        return descriptor

    def objection(self, value: object) -> str | None:
        """Say why ``value`` can't be, or None. Ranges and types are rclpy's to check."""
        if self._is_words() and value not in self.within:
            words = ', '.join(map(str, self.within))
            return f'{self.name} is one of {words}; not {value!r}'
        return None

    def _is_words(self) -> bool:
        return bool(self.within) and isinstance(self.within[0], str)


class Parameters:
    """The declared parameters of a node, and the rule for changing them."""

    def __init__(
        self, node: Node, declared: tuple[Declared, ...], configured: Callable[[], bool]
    ) -> None:
        self._node = node
        self._declared = {parameter.name: parameter for parameter in declared}
        self._configured = configured
        for parameter in declared:
            node.declare_parameter(parameter.name, parameter.default, parameter.descriptor())
        for parameter in declared:
            objection = parameter.objection(self[parameter.name])
            if objection:
                raise ValueError(objection)
        node.add_on_set_parameters_callback(self._on_set)

    def __getitem__(self, name: str) -> Any:
        return self._node.get_parameter(name).value

    def _on_set(self, changes: list[Parameter]) -> SetParametersResult:
        for change in changes:
            objection = self._objection(change)
            if objection:
                return SetParametersResult(successful=False, reason=objection)
        return SetParametersResult(successful=True)

    def _objection(self, change: Parameter) -> str | None:
        declared = self._declared.get(change.name)
        if declared is None:  # another's, as use_sim_time
            return None
        if not declared.live and self._configured():
            return (
                f'{change.name} is read when the node configures; deactivate and clean up the '
                'node first, or restart it with the new value'
            )
        return declared.objection(change.value)
