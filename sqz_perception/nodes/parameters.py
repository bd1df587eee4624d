# Copyright 2026 the sqz_perception authors
#
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.
#
# SPDX-License-Identifier: Apache-2.0
"""
The parameters of a node as one frozen dataclass, replaced as a whole when a parameter changes.

Each field of the dataclass declares one parameter: its default, what it means, what it may be and
when it may change. A live parameter changes at once. Any other is read when the node configures;
while the node is configured a change is refused, and the answer gives the remedy.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from typing import Any, Generic, TypeVar

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.node import Node
from rclpy.parameter import Parameter

from sqz_perception.nodes import params_files

Number = int | float
Settings = TypeVar('Settings')
Apply = Callable[[list[Parameter]], SetParametersResult]

QOS_OVERRIDES = 'qos_overrides.'  # rclpy declares these later, with the publisher they belong to


@dataclass(frozen=True)
class Declared:
    """One parameter. ``within`` is a (lowest, highest) pair or a tuple of the allowed words."""

    name: str
    default: Any
    description: str
    within: tuple[Number, Number] | tuple[str, ...] = ()
    live: bool = False
    dynamic: bool = False  # any type is accepted: for a text that may look like a number

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

    def converted(self, parameter: Parameter) -> Parameter:
        """Return ``parameter``, an integer as a double where this is a double."""
        if isinstance(self.default, float) and parameter.type_ == Parameter.Type.INTEGER:
            return Parameter(parameter.name, Parameter.Type.DOUBLE, float(parameter.value))
        return parameter

    def objection(self, parameter: Parameter) -> str | None:
        """Return why the value is refused, or None. Ranges and types are checked by rclpy."""
        if parameter.type_ == Parameter.Type.NOT_SET:
            return (
                f'{self.name} has no value: an empty list has no type in ROS; '
                f'for the default write {self.default!r}'
            )
        if self._is_words() and parameter.value not in self.within:
            words = ', '.join(map(str, self.within))
            return f'{self.name} is one of {words}; not {parameter.value!r}'
        return None

    def _is_words(self) -> bool:
        return bool(self.within) and isinstance(self.within[0], str)


def parameter(
    default: Any,
    description: str,
    within: tuple[Number, Number] | tuple[str, ...] = (),
    *,
    name: str = '',
    live: bool = False,
    dynamic: bool = False,
) -> Any:
    """Return the dataclass field of a parameter. ``name`` is by default the field's own."""
    meaning = Declared(name, default, description, within, live, dynamic)
    return field(default=_frozen(default), metadata={'declared': meaning})


def declared(settings: type) -> tuple[Declared, ...]:
    """Return the parameters that the fields of the dataclass ``settings`` declare."""
    return tuple(_declared(settings).values())


class Parameters(Generic[Settings]):
    """
    Declares the parameters of ``settings`` and keeps ``current``, an instance of it.

    The node's ``set_parameters_atomically`` must lead to ``change``. ``on_change(old, new)`` is
    called after each change. Raises ValueError or rclpy's ParameterException for a start value
    that can't be accepted.
    """

    def __init__(
        self,
        node: Node,
        settings: type[Settings],
        configured: Callable[[], bool],
        on_change: Callable[[Settings, Settings], None] = lambda old, new: None,
    ) -> None:
        self._node = node
        self._settings = settings
        self._fields = _declared(settings)
        self._declared = {known.name: known for known in self._fields.values()}
        self._configured = configured
        self._on_change = on_change
        for known in self._declared.values():
            self._declare(known)
        self.current = self._read()
        for problem in (*self._unknown(), *params_files.unused(sys.argv, _full_name(node))):
            node.get_logger().warning(problem)

    def change(self, requested: Iterable[Parameter], apply: Apply) -> SetParametersResult:
        """Check ``requested`` and ``apply`` what differs from now; an unchanged value is fine."""
        wanted = {p.name: self._converted(p) for p in requested}  # the last of a name counts
        changes = [p for p in wanted.values() if not self._is_now(p)]
        for change in changes:
            objection = self._objection(change)
            if objection:
                return SetParametersResult(successful=False, reason=objection)
        result = apply(changes)
        if result.successful and changes:
            old, self.current = self.current, self._read()
            self._on_change(old, self.current)
        return result

    def _declare(self, known: Declared) -> None:
        given = self._overrides.get(known.name)
        if given is not None:
            objection = known.objection(given)
            if objection:
                raise ValueError(objection)
            self._overrides[known.name] = known.converted(given)
        self._node.declare_parameter(known.name, known.default, known.descriptor())

    @property
    def _overrides(self) -> dict[str, Parameter]:
        """Return what files and command line give: rclpy has no public access to it."""
        return self._node._parameter_overrides

    def _read(self) -> Settings:
        values = {
            key: _frozen(self._node.get_parameter(known.name).value)
            for key, known in self._fields.items()
        }
        return self._settings(**values)

    def _converted(self, change: Parameter) -> Parameter:
        known = self._declared.get(change.name)
        return known.converted(change) if known else change

    def _is_now(self, change: Parameter) -> bool:
        if not self._node.has_parameter(change.name):
            return False
        return (
            self._node.get_parameter(change.name).to_parameter_msg() == change.to_parameter_msg()
        )

    def _objection(self, change: Parameter) -> str | None:
        if not self._node.has_parameter(change.name):
            return f'there is no parameter {self._with_hint(change.name)}'
        known = self._declared.get(change.name)
        if known is None:  # one of rclpy's own, as use_sim_time
            return None
        if not known.live and self._configured():
            return (
                f'{known.name} is read when the node configures; deactivate and clean up the '
                'node first, or restart it with the new value'
            )
        return known.objection(change)

    def _unknown(self) -> list[str]:
        names = [
            self._with_hint(name)
            for name in sorted(self._overrides)
            if not self._node.has_parameter(name) and not name.startswith(QOS_OVERRIDES)
        ]
        return [f'unknown parameters are ignored: {", ".join(names)}'] if names else []

    def _with_hint(self, name: str) -> str:
        near = get_close_matches(name, self._declared, 1)
        return f'{name} (did you mean {near[0]}?)' if near else name


def _declared(settings: type) -> dict[str, Declared]:
    """Return the declaration of each field, by the field's name."""
    found = {}
    for each in fields(settings):
        known: Declared = each.metadata['declared']
        found[each.name] = replace(known, name=known.name or each.name)
    return found


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _full_name(node: Node) -> str:
    return str(node.get_fully_qualified_name())
