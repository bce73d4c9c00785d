"""From text to sqlglot's tree: which words and signs the language knows, and how long a rule may be.

sqlglot is only the parser here. It is given a dialect without functions, types, statements or comments, so that every
word which is not an operator stays a plain name (`plan`, `language`, `value`, `date`). What is left of its grammar is
kept out by two lists: the signs allowed below, and the nodes that `resolve` knows. It rewrites nothing.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any, ClassVar, Final

from sqlglot import exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import SqlglotError
from sqlglot.parser import Parser as SqlParser
from sqlglot.tokenizer_core import Token, TokenType
from sqlglot.tokens import Tokenizer as SqlTokenizer

from kairos.errors import Diagnostic, RuleError

MAX_TEXT: Final = 4_000  # characters
MAX_WORDS: Final = 1_000  # names, literals and signs
MAX_DEPTH: Final = 30  # parentheses inside parentheses, or signs before one value

_WORDS: Final = frozenset({"AND", "OR", "NOT", "IN", "BETWEEN", "LIKE", "IS", "NULL", "TRUE", "FALSE"})
_SIGNS: Final = frozenset({"<>", "!=", "<=", ">=", "==", "||", "::", "->", "->>", "=>", ":=", "<=>", "??", "&&", "~~"})


class _Rules(Dialect):
    """SQL's operators and nothing else."""

    class Tokenizer(SqlTokenizer):
        QUOTES: ClassVar = ["'"]
        STRING_ESCAPES: ClassVar = ["'"]
        KEYWORDS: ClassVar = {
            **{word: kind for word, kind in SqlTokenizer.KEYWORDS.items() if word in _WORDS | _SIGNS},
            "{{": TokenType.BLOCK_START,  # so that templates are a sign of their own
        }

    class Parser(SqlParser):
        FUNCTIONS: ClassVar[dict[str, Any]] = {}
        FUNCTION_PARSERS: ClassVar[dict[str, Any]] = {}
        NO_PAREN_FUNCTIONS: ClassVar[dict[str, Any]] = {}
        NO_PAREN_FUNCTION_PARSERS: ClassVar[dict[str, Any]] = {}
        STATEMENT_PARSERS: ClassVar[dict[TokenType, Any]] = {}


_ALLOWED: Final = frozenset(
    {
        *(TokenType.VAR, TokenType.STRING, TokenType.NUMBER, TokenType.NULL, TokenType.TRUE, TokenType.FALSE),
        *(TokenType.L_PAREN, TokenType.R_PAREN, TokenType.COMMA, TokenType.DOT),
        *(TokenType.EQ, TokenType.NEQ, TokenType.LT, TokenType.LTE, TokenType.GT, TokenType.GTE),
        *(TokenType.PLUS, TokenType.DASH, TokenType.STAR, TokenType.SLASH, TokenType.MOD),
        *(TokenType.AND, TokenType.OR, TokenType.NOT, TokenType.IN, TokenType.BETWEEN, TokenType.LIKE, TokenType.IS),
    }
)

_COMMENT: Final = "comments (`--`, `/*`) are not part of the rules language; write them beside the rule, after a `#`"

_FOREIGN_SIGNS: Final = {
    "||": "joining texts with `||` is not part of the rules language",
    "::": "casts (`::`) are not part of the rules language: every name has its type from the vocabulary",
    ";": "a rule is one expression, without `;`",
    "==": "`==` is not part of the rules language; write `=`",
    "!": "`!` is not part of the rules language; write NOT",
    "&&": "`&&` is not part of the rules language; write AND",
    "|": "`|` is not part of the rules language; write OR",
    "^": "powers (`^`) are not part of the rules language",
    "[": "lists in `[ ]` are not part of the rules language; write `IN ('a', 'b')`",
    "->": "reading inside JSON is not part of the rules language",
    "->>": "reading inside JSON is not part of the rules language",
    "?": "parameters are not part of the rules language",
    ":": "parameters are not part of the rules language",
    "@": "parameters are not part of the rules language",
}

_FOREIGN_WORDS: Final = {
    **dict.fromkeys(("SELECT", "WITH", "EXISTS", "ANY", "ALL", "SOME"), "subqueries are"),
    **dict.fromkeys(("CASE", "WHEN", "THEN", "ELSE"), "CASE is"),
    **dict.fromkeys(("CAST", "TRY_CAST"), "casts are"),
    **dict.fromkeys(("OVER", "FILTER", "WITHIN"), "window functions are"),
    **dict.fromkeys(("SIMILAR", "RLIKE", "REGEXP"), "regular expressions are"),
    **{word: f"{word} is" for word in ("ESCAPE", "XOR", "COLLATE", "DISTINCT")},
    "ILIKE": "ILIKE (write `lower(name) LIKE 'abc%'`) is",
    "INTERVAL": "INTERVAL (use `days_since`, `hours_since`, `days_until` or `hours_until`) is",
    "DIV": "DIV (write `floor(a / b)`) is",
}


def syntax_tree(text: str, names: Container[str], file: str, line: int) -> exp.Expression:
    """The syntax tree of one expression; a word of `names` is always a name.

    Raises `RuleError` for a text that is too long, or that is not an expression of the language.
    """

    def refuse(message: str, at: int = 1, hint: str = "") -> RuleError:
        return RuleError([Diagnostic(file, line + at - 1 if line else 0, message, hint)])

    if not text.strip():
        raise refuse("the rule is empty")
    if len(text) > MAX_TEXT:
        raise refuse(f"the rule has {len(text):,} characters, and {MAX_TEXT:,} is the most", hint="split it")
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise refuse("the rule holds half a character: it is not valid Unicode")
    try:
        tokens = _Rules().tokenize(text)
    except SqlglotError as error:
        quote = "a text is not closed: its last ' is missing" if text.count("'") % 2 else "the rule cannot be read"
        raise refuse(quote) from error
    if not tokens:
        raise refuse(_COMMENT)
    if complaint := _complaint(tokens, text, names):
        message, at = complaint
        raise refuse(message, at)
    try:
        trees = _Rules().parser().parse(_dates_as_calls(tokens), text)
    except SqlglotError as error:
        place: dict[str, Any] = next(iter(getattr(error, "errors", ())), {})
        near = str(place.get("highlight") or "").strip()
        at = min(place.get("line") or 1, text.count("\n") + 1)
        raise refuse(f"the rule cannot be read near `{near}`" if near else "the rule cannot be read", at) from error
    if len(trees) != 1 or trees[0] is None:
        raise refuse("the rule is not one expression")
    return trees[0]  # type: ignore[return-value]


def _complaint(tokens: list[Token], text: str, names: Container[str]) -> tuple[str, int] | None:
    """What is wrong with the words themselves, and on which line."""
    if len(tokens) > MAX_WORDS:
        return f"the rule has {len(tokens):,} words and signs, and {MAX_WORDS:,} is the most", 1
    if too_deep := _too_deep(tokens):
        return too_deep
    for token in tokens:
        if foreign := _foreign(token, text, names):
            return foreign, token.line
    return None


def _too_deep(tokens: list[Token]) -> tuple[str, int] | None:
    depth = signs = 0
    for token in tokens:
        depth += (token.token_type == TokenType.L_PAREN) - (token.token_type == TokenType.R_PAREN)
        signs = signs + 1 if token.token_type in (TokenType.NOT, TokenType.DASH, TokenType.PLUS) else 0
        if max(depth, signs) > MAX_DEPTH:
            return f"the rule is nested deeper than {MAX_DEPTH} levels", token.line
    return None


def _foreign(token: Token, text: str, names: Container[str]) -> str:
    """Why a word or sign is not part of the language; empty if it is."""
    if token.comments:
        return _COMMENT
    if token.token_type == TokenType.IDENTIFIER:
        return f"names stand without quotes, and texts in single ones: write `{token.text}` or `'{token.text}'`"
    written = text[token.start : token.end + 1]
    if token.token_type not in _ALLOWED or written in _FOREIGN_SIGNS:
        return _FOREIGN_SIGNS.get(written, f"`{written}` is not part of the rules language")
    if token.token_type == TokenType.STRING and any(ord(letter) < 32 for letter in token.text):
        return "a text holds a control character"
    if token.token_type != TokenType.VAR or token.text in names or token.text.upper() not in _FOREIGN_WORDS:
        return ""
    return f"{_FOREIGN_WORDS[token.text.upper()]} not part of the rules language"


def _dates_as_calls(tokens: list[Token]) -> list[Token]:
    """DATE '2026-01-31' read as a call of `date`, because `date` is a plain word in this dialect."""
    rewritten: list[Token] = []
    for token in tokens:
        opens = bool(rewritten) and token.token_type == TokenType.STRING and _introduces(rewritten[-1])
        if opens:
            rewritten.append(_sign_at(token, TokenType.L_PAREN, "("))
        rewritten.append(token)
        if opens:
            rewritten.append(_sign_at(token, TokenType.R_PAREN, ")"))
    return rewritten


def _introduces(token: Token) -> bool:
    return token.token_type == TokenType.VAR and token.text.upper() in ("DATE", "TIMESTAMP")


def _sign_at(token: Token, kind: TokenType, text: str) -> Token:
    return Token(kind, text, token.line, token.col, token.start, token.end)
