"""The second runner: a typed tree becomes SQL of the same meaning, for audiences."""

from __future__ import annotations

from kairos.rules.literals import quoted
from kairos.rules.python import may_overflow
from kairos.rules.tree import (
    Always,
    And,
    Arithmetic,
    Call,
    Coalesce,
    Column,
    Comparison,
    Condition,
    In,
    IsNull,
    Like,
    Literal,
    Node,
    Operand,
    Or,
    Tree,
    Truth,
    children,
)


def to_sql(condition: Condition) -> str:
    """The rule as a boolean expression of DuckDB's, over columns named as in the vocabulary (a dotted name is one
    quoted name).

    It is TRUE, FALSE or NULL exactly where the compiled rule is; a `WHERE` keeps what is TRUE.
    """
    return _tree(condition.tree)


def _tree(tree: Tree) -> str:
    match tree:
        case Always(value):
            return "TRUE" if value else "FALSE"
        case And(parts):
            return f"({' AND '.join(map(_tree, parts))})"
        case Or(parts):
            return f"({' OR '.join(map(_tree, parts))})"
        case Truth(operand, negated):
            return f"({'NOT ' * negated}{_settled(operand)})"
        case Comparison(operator, left, right):
            return f"({_settled(left)} {operator} {_settled(right)})"
        case In(operand, options, negated):
            return f"({_settled(operand)} {'NOT ' * negated}IN ({', '.join(map(_value, options))}))"
        case IsNull(operand, negated):
            return f"({_settled(operand)} IS {'NOT ' * negated}NULL)"
        case Like(operand, pattern, negated):
            return f"({_settled(operand)} {'NOT ' * negated}LIKE {quoted(pattern)})"


def _settled(node: Operand) -> str:
    """A value that is finite or NULL."""
    code = _value(node)
    return f"(CASE WHEN isfinite({code}) THEN {code} END)" if may_overflow(node) else code


def _value(node: Operand) -> str:
    match node:
        case Column(name):
            return '"' + name.replace('"', '""') + '"'
        case Literal():
            return _literal(node)
        case Arithmetic():
            return _arithmetic(node)
        case Coalesce(arguments):
            return f"coalesce({', '.join(map(_settled, arguments))})"
        case Call(function, arguments):
            codes = [_settled(argument) for argument in arguments]
            known = " AND ".join(f"{code} IS NOT NULL" for code in codes)
            return function.sql.format(*codes, all=", ".join(codes), known=known)


def _arithmetic(node: Arithmetic) -> str:
    left, right, operator = node.left, node.right, node.operator
    if node.type == "money" and left.type == right.type:  # wide enough that no sum of 64 bits can overflow
        return f"(CAST({_value(left)} AS HUGEINT) {operator} CAST({_value(right)} AS HUGEINT))"
    one = _double(left)
    two = _double(right) if operator in "+-*" else _divisor(right)
    code = f"({one} {operator} {two})"
    return code if node.type == "number" else f"TRY_CAST(round({code}) AS BIGINT)"


def _double(node: Operand) -> str:
    return _value(node) if node.type == "number" else f"CAST({_value(node)} AS DOUBLE)"


def _divisor(node: Operand) -> str:
    if isinstance(node, Literal) and node.value:
        return _double(node)
    code = _settled(node) if node.type == "number" else _double(node)
    return f"nullif({code}, 0)"


def sql_size(node: Node) -> int:
    """How many names, literals and functions the SQL of a node has: a guard writes what it guards twice."""
    sizes = [
        _guarded_size(child) if _is_guarded(node, at) else sql_size(child) for at, child in enumerate(children(node))
    ]
    repeated = 2 if isinstance(node, Call) and node.function.repeats else 1
    return 1 + repeated * sum(sizes)


def _is_guarded(node: Node, at: int) -> bool:
    return not isinstance(node, Arithmetic) or (at == 1 and node.operator in "/%")


def _guarded_size(node: Node) -> int:
    return 4 * sql_size(node) if isinstance(node, Arithmetic) else sql_size(node)


def _literal(literal: Literal) -> str:
    value = literal.value
    match literal.type:
        case "text":
            return quoted(str(value))
        case "boolean":
            return "TRUE" if value else "FALSE"
        case "number":
            written = repr(value)  # with an exponent, so that DuckDB reads a DOUBLE and not first a DECIMAL
            return f"CAST({written if 'e' in written else written + 'e0'} AS DOUBLE)"
        case "money":
            return f"CAST({value} AS BIGINT)"
        case "date":
            return f"CAST(DATE '1970-01-01' + {value} AS DATE)"
        case "time":
            return f"make_timestamp({int(value) * 1_000})"
