"""Tokens to a tree, with macros expanded: precedence climbing, depth bounded as upstream bounds it.

Source: https://github.com/google/cel-spec/blob/master/doc/langdef.md#syntax and cel-go's `parser/parser.go`.
"""

from __future__ import annotations

from tiphys.api.cel import macros
from tiphys.api.cel.ast import Call, Entry, Ident, ListNode, Literal, MapNode, Node, Select, StructField, StructNode
from tiphys.api.cel.errors import CompileError, Issue
from tiphys.api.cel.lexer import Token, number, tokens

MAX_SOURCE = 100_000
MAX_DEPTH = 250
# Where one chain of operators or selections stops; each link is a level of the tree.
_MAX_CHAIN = 400

_RESERVED = frozenset({
    "as", "break", "const", "continue", "else", "false", "for", "function", "if", "import", "in", "let", "loop",
    "package", "namespace", "null", "return", "true", "var", "void", "while",
})  # fmt: skip
_BINDING = {
    "||": 1, "&&": 2, "<": 3, "<=": 3, ">": 3, ">=": 3, "==": 3, "!=": 3, "in": 3, "+": 4, "-": 4, "*": 5, "/": 5,
    "%": 5,
}  # fmt: skip
_FIRST = frozenset({"[", "{", "(", ".", "-", "!", "literal", "number", "ident"})
_EXPECTED = (
    "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}"
)


class _Stop(Exception):
    """The text cannot be understood any further."""


def parse(source: str) -> Node:
    """The tree of a source text. Raises CompileError."""
    issues: list[Issue] = []
    if len(source) > MAX_SOURCE:
        text = f"expression code point size exceeds limit: size: {len(source)}, limit {MAX_SOURCE}"
        raise CompileError(source, [Issue(0, text)])
    found = tokens(source, issues)
    parser = _Parser(found, issues)
    node: Node | None = None
    try:
        node = parser.expression()
        parser.finish()
    except _Stop:
        pass
    except RecursionError:
        issues.append(Issue(0, f"expression recursion limit exceeded: {MAX_DEPTH}"))
    if issues or node is None:
        raise CompileError(source, issues)
    return node


class _Parser:
    def __init__(self, found: list[Token], issues: list[Issue]) -> None:
        self._tokens, self._issues = found, issues
        self._next = 0
        self._depth = 0

    def finish(self) -> None:
        token = self._tokens[self._next]
        if token.kind != "end":
            what = "extraneous" if self._tokens[self._next + 1].kind == "end" else "mismatched"
            self._fail(token, f"Syntax error: {what} input '{token.text}' expecting <EOF>")

    def expression(self) -> Node:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self._too_deep()
        node = self._binary(0)
        question = self._take("?")
        if question is not None:
            then = self._binary(0)
            self._need(":")
            node = Call(question.at, "_?_:_", [node, then, self.expression()])
        self._depth -= 1
        return node

    def _binary(self, floor: int) -> Node:
        """Operators that bind tighter than `floor`, left to right; a chain of `&&` or `||` is one node."""
        node = self._unary()
        links = 0
        while links < _MAX_CHAIN:
            token = self._tokens[self._next]
            strength = _BINDING.get(token.kind, 0)
            if strength <= floor:
                return node
            self._next += 1
            name = "@in" if token.kind == "in" else f"_{token.kind}_"
            right = self._binary(strength)
            if strength <= 2 and isinstance(node, Call) and node.function == name:
                node.args.append(right)
            else:
                node = Call(token.at, name, [node, right])
                links += 1
        return self._too_deep()

    def _too_deep(self) -> Node:
        return self._fail(self._tokens[0], f"expression recursion limit exceeded: {MAX_DEPTH}")

    def _unary(self) -> Node:
        token = self._tokens[self._next]
        if token.kind not in ("!", "-"):
            return self._member()
        count = 0
        while self._tokens[self._next].kind == token.kind:
            count += 1
            self._next += 1
        after = self._tokens[self._next]
        if token.kind == "-" and count == 1 and after.kind in ("number", "literal"):
            return self._members(self._negative(token, after))
        node = self._member()
        return Call(token.at, f"{token.kind}_", [node]) if count % 2 else node

    def _negative(self, minus: Token, token: Token) -> Node:
        if token.kind == "number":
            self._next += 1
            return self._number(token, minus.at, negative=True)
        if type(token.value) is float:
            self._next += 1
            return Literal(minus.at, -token.value)
        return Call(minus.at, "-_", [self._member()])

    def _member(self) -> Node:
        return self._members(self._primary())

    def _members(self, node: Node) -> Node:
        for _ in range(_MAX_CHAIN):
            token = self._tokens[self._next]
            if token.kind == ".":
                self._next += 1
                node = self._selected(node, token)
            elif token.kind == "[":
                self._next += 1
                optional = self._take("?") is not None
                index = self.expression()
                self._need("]")
                node = Call(token.at, "_[?_]" if optional else "_[_]", [node, index])
            elif token.kind == "{" and (name := _dotted(node)) is not None:
                self._next += 1
                node = self._struct(name, node)
            else:
                return node
        return self._too_deep()

    def _selected(self, node: Node, dot: Token) -> Node:
        if self._take("?") is not None:
            field = self._need("ident")
            return Call(dot.at, "_?._", [node, Literal(field.at, field.text)])
        field = self._need("ident")
        opening = self._take("(")
        if opening is None:
            return Select(dot.at, node, field.text)
        return self._call(field.text, self._arguments(")"), opening, node)

    def _call(self, name: str, args: list[Node], opening: Token, target: Node | None) -> Node:
        try:
            expanded = macros.expand(name, opening.at, target, args)
        except macros.MacroError as error:
            self._issues.append(Issue(error.at, str(error)))
            return Literal(opening.at, None)
        return expanded if expanded is not None else Call(opening.at, name, args, target)

    def _primary(self) -> Node:
        token = self._tokens[self._next]
        if token.kind not in _FIRST or token.kind in ("-", "!"):
            following = self._tokens[min(self._next + 1, len(self._tokens) - 1)]
            what = "extraneous" if following.kind in _FIRST and token.kind != "end" else "mismatched"
            self._fail(token, f"Syntax error: {what} input '{token.text}' expecting {_EXPECTED}")
        self._next += 1
        if token.kind == "literal":
            return Literal(token.at, token.value)
        if token.kind == "number":
            return self._number(token, token.at)
        if token.kind == "(":
            node = self.expression()
            self._need(")")
            return node
        if token.kind == "[":
            return self._list(token)
        if token.kind == "{":
            return self._map(token)
        leading = token.kind == "."
        name = self._need("ident") if leading else token
        return self._name(name, token.at)

    def _name(self, name: Token, at: int) -> Node:
        if name.text in _RESERVED:
            self._issues.append(Issue(at, f"reserved identifier: {name.text}"))
        opening = self._take("(")
        if opening is None:
            return Ident(at, name.text)
        return self._call(name.text, self._arguments(")"), opening, None)

    def _number(self, token: Token, at: int, *, negative: bool = False) -> Node:
        try:
            return Literal(at, number(token.text, negative=negative))
        except ValueError as error:
            self._issues.append(Issue(at, str(error)))
            return Literal(at, 0)

    def _arguments(self, closing: str) -> list[Node]:
        found: list[Node] = []
        if self._take(closing) is not None:
            return found
        while True:
            found.append(self.expression())
            if self._take(",") is None:
                self._need(closing)
                return found

    def _list(self, opening: Token) -> Node:
        elements: list[Node] = []
        optional = set()
        while self._take("]") is None:
            if self._take("?") is not None:
                optional.add(len(elements))
            elements.append(self.expression())
            if self._take(",") is None:
                self._need("]")
                break
        return ListNode(opening.at, elements, frozenset(optional))

    def _map(self, opening: Token) -> Node:
        entries: list[Entry] = []
        while self._take("}") is None:
            optional = self._take("?") is not None
            key = self.expression()
            colon = self._need(":")
            entries.append(Entry(colon.at, key, self.expression(), optional=optional))
            if self._take(",") is None:
                self._need("}")
                break
        return MapNode(opening.at, entries)

    def _struct(self, name: str, node: Node) -> Node:
        opening = self._tokens[self._next - 1]
        fields: list[StructField] = []
        while self._take("}") is None:
            optional = self._take("?") is not None
            field = self._need("ident")
            colon = self._need(":")
            fields.append(StructField(colon.at, field.text, self.expression(), optional=optional))
            if self._take(",") is None:
                self._need("}")
                break
        return StructNode(opening.at, name, fields)

    def _take(self, kind: str) -> Token | None:
        token = self._tokens[self._next]
        if token.kind != kind:
            return None
        self._next += 1
        return token

    def _need(self, kind: str) -> Token:
        token = self._take(kind)
        if token is None:
            found = self._tokens[self._next]
            expected = "IDENTIFIER" if kind == "ident" else f"'{kind}'"
            self._fail(found, f"Syntax error: mismatched input '{found.text}' expecting {expected}")
        assert token is not None
        return token

    def _fail(self, token: Token, message: str) -> Node:
        self._issues.append(Issue(token.at, message))
        raise _Stop


def _dotted(node: Node) -> str | None:
    """`Object.spec` for a chain of names, which may be the name of a type."""
    parts: list[str] = []
    while isinstance(node, Select) and not node.test:
        parts.append(node.field)
        node = node.operand
    return ".".join([node.name, *reversed(parts)]) if isinstance(node, Ident) else None
