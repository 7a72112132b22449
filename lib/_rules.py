"""Rules of claims: comparisons of recorded values, evaluated without running code."""

import ast
import operator

_OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.USub: operator.neg,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
}
_FUNCTIONS = {"abs": lambda terms: abs(*terms), "min": min, "max": max}


def check_rule(claim, rule):
    """Raise a ValueError unless `rule` is a comparison such as ``a > 0.4 and abs(b) < 2 * c``."""
    _evaluate(_parse(claim, rule), claim, None)


def evaluate_rule(claim, rule, values):
    """Tell whether `rule` holds of named numbers.

    Raises
    ------
    ValueError
        A name has no value, or the rule is no comparison.
    """
    return _evaluate(_parse(claim, rule), claim, values)


def _parse(claim, rule):
    try:
        tree = ast.parse(rule, mode="eval").body
    except SyntaxError as error:
        raise ValueError(f"claim {claim}: rule {rule!r} does not parse") from error
    if not isinstance(tree, ast.Compare | ast.BoolOp):
        raise ValueError(f"claim {claim}: rule {rule!r} must compare values")
    return tree


def _evaluate(node, claim, values):
    """Evaluate a rule's syntax tree; with `values` None only its grammar is checked."""

    def value(child):
        return _evaluate(child, claim, values)

    match node:
        case ast.BoolOp(op=ast.And(), values=parts):
            return all([value(part) for part in parts])
        case ast.Compare(left=left, ops=ops, comparators=right) if all(
            type(op) in _OPERATORS for op in ops
        ):
            terms = [value(term) for term in (left, *right)]
            pairs = zip(terms[:-1], ops, terms[1:], strict=True)
            return all([_OPERATORS[type(op)](a, b) for a, op, b in pairs])
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            a, b = value(left), value(right)
            return 1.0 if values is None else _OPERATORS[type(op)](a, b)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -value(operand)
        case ast.Call(func=ast.Name(id=name), args=[_, *_] as arguments, keywords=[]) if (
            name in _FUNCTIONS
        ):
            return _FUNCTIONS[name](value(argument) for argument in arguments)
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return number
        case ast.Name(id=name):
            if values is None:
                return 1.0
            if name not in values:
                raise ValueError(f"claim {claim}: its rule needs a value named {name!r}")
            return values[name]
    raise ValueError(f"claim {claim}: its rule may only compare values, got {ast.unparse(node)!r}")
