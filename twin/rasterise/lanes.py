"""Eight float32 values as one value inside Numba kernels: LLVM's vectors, written as ordinary arithmetic.

Numba leaves vectorising to LLVM's loop heuristics, which set their constants up anew for every row of pixels and
cannot keep sums in registers over rows. With `Lanes` the kernel says what is a vector, and does both.

Inside a kernel: `a + b`, `a - b`, `a * b`, `-a`, comparisons (a `Mask`), `mask & mask`, and the functions below.
"""

from __future__ import annotations

import operator
from collections.abc import Callable

from llvmlite import ir
from numba.core import types
from numba.core.typing.templates import ConcreteTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

WIDTH = 8
FAST = ("fast",)
VECTOR = ir.VectorType(ir.FloatType(), WIDTH)
BITS = ir.VectorType(ir.IntType(1), WIDTH)


class Lanes(types.Type):
    def __init__(self) -> None:
        super().__init__(name="float32x8")


class Mask(types.Type):
    def __init__(self) -> None:
        super().__init__(name="bool8")


lanes, mask = Lanes(), Mask()


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager, frontend_type) -> None:
        super().__init__(manager, frontend_type, VECTOR)


@register_model(Mask)
class _MaskModel(models.PrimitiveModel):
    def __init__(self, manager, frontend_type) -> None:
        super().__init__(manager, frontend_type, BITS)


def _operator(symbol: Callable, result: types.Type, operands: tuple[types.Type, ...], emit: Callable) -> None:
    """Gives `symbol` a meaning for these operand types: `emit(builder, *values)` writes the instruction."""

    class Template(ConcreteTemplate):
        key = symbol
        cases = [signature(result, *operands)]  # type: ignore[assignment]

    infer_global(symbol)(Template)  # pyright: ignore[reportOptionalCall]
    lower_builtin(symbol, *operands)(lambda context, builder, sig, values: emit(builder, *values))


_operator(operator.add, lanes, (lanes, lanes), lambda b, x, y: b.fadd(x, y, flags=FAST))
_operator(operator.sub, lanes, (lanes, lanes), lambda b, x, y: b.fsub(x, y, flags=FAST))
_operator(operator.mul, lanes, (lanes, lanes), lambda b, x, y: b.fmul(x, y, flags=FAST))
_operator(operator.truediv, lanes, (lanes, lanes), lambda b, x, y: b.fdiv(x, y, flags=FAST))
_operator(operator.neg, lanes, (lanes,), lambda b, x: b.fneg(x, flags=FAST))
_operator(operator.gt, mask, (lanes, lanes), lambda b, x, y: b.fcmp_ordered(">", x, y, flags=FAST))
_operator(operator.ge, mask, (lanes, lanes), lambda b, x, y: b.fcmp_ordered(">=", x, y, flags=FAST))
_operator(operator.and_, mask, (mask, mask), lambda b, x, y: b.and_(x, y))


def _splat(builder, value):
    """One scalar in all lanes."""
    one = builder.insert_element(ir.Constant(VECTOR, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), [0] * WIDTH)
    return builder.shuffle_vector(one, ir.Constant(VECTOR, ir.Undefined), zeros)


@intrinsic
def broadcast(typing, value):
    """The float32 `value` in all eight lanes."""
    return lanes(types.float32), lambda context, builder, sig, values: _splat(builder, values[0])


@intrinsic
def load(typing, array, at):
    """array[at : at + 8] of a one-dimensional contiguous float32 array; no bounds check."""

    def emit(context, builder, sig, values):
        return builder.load(_address(context, builder, sig.args[0], values[0], values[1]), align=4)

    return lanes(array, at), emit


@intrinsic
def store(typing, array, at, value):
    """array[at : at + 8] = value; no bounds check."""

    def emit(context, builder, sig, values):
        builder.store(values[2], _address(context, builder, sig.args[0], values[0], values[1]), align=4)
        return context.get_dummy_value()

    return types.none(array, at, lanes), emit


def _address(context, builder, array_type, array, at):
    data = context.make_array(array_type)(context, builder, array).data
    place = builder.gep(data, [at], source_etype=ir.FloatType())
    return builder.bitcast(place, VECTOR.as_pointer())


@intrinsic
def select(typing, condition, when_true, when_false):
    """Lane by lane."""
    return lanes(mask, lanes, lanes), lambda context, builder, sig, values: builder.select(*values)


@intrinsic
def minimum(typing, x, y):
    def emit(context, builder, sig, values):
        return builder.select(builder.fcmp_ordered("<", *values, flags=FAST), *values)

    return lanes(lanes, lanes), emit


@intrinsic
def maximum(typing, x, y):
    def emit(context, builder, sig, values):
        return builder.select(builder.fcmp_ordered(">", *values, flags=FAST), *values)

    return lanes(lanes, lanes), emit


@intrinsic
def total(typing, x):
    """The sum of the eight lanes, as a float32."""

    def emit(context, builder, sig, values):
        kind = ir.FunctionType(ir.FloatType(), [ir.FloatType(), VECTOR])
        reduce = builder.module.globals.get("llvm.vector.reduce.fadd.v8f32") or ir.Function(
            builder.module, kind, "llvm.vector.reduce.fadd.v8f32"
        )
        return builder.call(reduce, [ir.Constant(ir.FloatType(), 0.0), values[0]], fastmath=FAST)

    return types.float32(lanes), emit


@intrinsic
def any_lane(typing, x):
    """Whether the mask holds in some lane."""

    def emit(context, builder, sig, values):
        byte = builder.bitcast(values[0], ir.IntType(WIDTH))
        return builder.icmp_unsigned("!=", byte, ir.Constant(ir.IntType(WIDTH), 0))

    return types.boolean(mask), emit
