"""Chat templates drawn at random, from a seed: in the part of Jinja that those of models are written in."""

import random

TEXTS = ["", " ", "user", "assistant", "a b", "</t>", "x</t> y ", "\\n", "\u00e9t\u00e9", "7"]
# Of texts, what gives texts again.
FILTERS = ["trim", "upper", "lower", "string", "capitalize", "title", "first", "last", "join", "replace('t', '[]')"]
METHODS = [
    "strip()",
    "lstrip('\\n ')",
    "rstrip('t>')",
    "split('</t>')[-1]",
    "split()[0]",
    "split(' ')[-1]",
    "upper()",
    "replace('t', '[]')",
    "title()",
    "lstrip()",
    "rstrip('\\n')",
]
SLICES = ["0", "-1", "1:", ":-1", "::-1", "-3:2", "2"]
LEAVES = {
    "text": ["m.role", "m['content']", "m.content", "messages[0]['role']", "messages[-1].content", "s.t", "x", "eos_token"],
    "number": ["0", "1", "-1", "2", "7", "loop.index0", "loop.index", "loop.revindex", "messages | length", "s.n"],
    "truth": ["loop.first", "loop.last", "add_generation_prompt", "nothing", "true", "none", "s.t", "m.content"],
    "list": ["messages", "messages[1:]", "messages[::-1]", "range(3)", "['a', 'b']", "(m.content.split())", "[]"],
}
TESTS = ["defined", "none", "string", "mapping", "iterable", "number", "true", "undefined", "sequence", "false", "boolean"]


class Templates:
    """Draws templates; every one is Jinja, though not every one can be rendered."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def pick(self, things: list[str]) -> str:
        """One of them."""
        return things[self.random.randrange(len(things))]

    def any(self, depth: int) -> str:
        """A value of any kind."""
        return self.value(self.pick(list(LEAVES)), depth)

    def value(self, kind: str, depth: int) -> str:
        """A value of this kind, or once in a while of another one."""
        if self.random.random() < 0.04:
            return self.any(max(depth - 1, 0))
        if depth == 0 or self.random.random() < 0.2:
            drawn_text = kind == "text" and self.random.random() < 0.3
            return f"'{self.pick(TEXTS)}'" if drawn_text else self.pick(LEAVES[kind])
        return "(" + self.pick(getattr(self, kind)(depth - 1)) + ")"

    def text(self, depth: int) -> list[str]:
        """Ways to make a text."""
        one, other = self.value("text", depth), self.value("text", depth)
        return [
            f"{one} + {other}",
            f"{one} ~ {self.any(depth)}",
            f"{one} | {self.pick(FILTERS)}",
            f"{one}.{self.pick(METHODS)}",
            f"{one}[{self.pick(SLICES)}]",
            f"{one} if {self.value('truth', depth)} else {other}",
            f"{self.pick(['nothing', one])} | default({other})",
            f"{self.value('list', depth)} | map(attribute='{self.pick(['role', 'content'])}') | join('{self.pick(TEXTS)}')",
            f"{one} or {other}",
        ]

    def number(self, depth: int) -> list[str]:
        """Ways to make a number."""
        one, other = self.value("number", depth), self.value("number", depth)
        return [
            f"{one} {self.pick(['+', '-', '+', '-', '%'])} {other}",
            f"{self.value(self.pick(['list', 'text']), depth)} | length",
        ]

    def truth(self, depth: int) -> list[str]:
        """Ways to make what an if looks at."""
        one, other = self.value("truth", depth), self.value("truth", depth)
        text, number = self.value("text", depth), self.value("number", depth)
        return [
            f"{one} {self.pick(['and', 'or'])} {other}",
            f"not {one}",
            f"{self.any(depth)} {self.pick(['==', '!='])} {self.any(depth)}",
            f"{number} {self.pick(['<', '>=', '>', '<='])} {self.value('number', depth)}",
            f"{text} {self.pick(['in', 'not in'])} {self.value('text', depth)}",
            f"'{self.pick(['role', 'content', 'name'])}' {self.pick(['in', 'not in'])} m",
            f"{self.any(depth)} is {self.pick(['', 'not '])}{self.pick(TESTS)}",
            f"{number} is {self.pick(['odd', 'even'])}",
            f"{text}.{self.pick(['startswith', 'endswith'])}('{self.pick(TEXTS)}')",
        ]

    def list(self, depth: int) -> list[str]:
        """Ways to make a list."""
        one = self.value("list", depth)
        return [
            f"{one}[{self.pick(SLICES[2:6])}]",
            f"{one} | list",
            f"{one} + {self.value('list', depth)}",
            f"{self.value('text', depth)}.split('{self.pick(['t', '</t>', ' '])}')",
            f"messages | {self.pick(['selectattr', 'rejectattr'])}('role', '{self.pick(['equalto', '==', 'ne'])}', 'user') | list",
            f"messages | map(attribute='{self.pick(['role', 'content', 'none'])}') | list",
            f"[{self.value('text', depth)}, {self.value('number', depth)}]",
        ]

    def tag(self, what: str) -> str:
        """A statement, which may take the white space around it."""
        return f"{{%{self.pick(['', '-', ' '])} {what} {self.pick(['', '-', ''])}%}}"

    def piece(self, depth: int) -> str:
        """Text, an output or a statement with its body."""
        drawn = self.random.random()
        if depth == 0 or drawn < 0.35:
            return f"{{{{{self.pick(['', '-'])} {self.value(self.pick(['text', 'text', 'number', 'truth']), 3)} {self.pick(['', '-'])}}}}}"
        if drawn < 0.5:
            return self.pick([" ", "\n", "  <a>\n", "b\n\n", "\t{# note #}\n", "{#- note -#} "])
        if drawn < 0.65:
            name, kind = self.random.choice([("x", "text"), ("s.t", "text"), ("s.n", "number")])
            return self.tag(f"set {name} = {self.value(kind, 2)}")
        if drawn < 0.8:
            otherwise = self.tag("else") + self.body(depth - 1) if self.random.random() < 0.5 else ""
            return self.tag(f"if {self.value('truth', 2)}") + self.body(depth - 1) + otherwise + self.tag("endif")
        over = self.pick(["messages", "messages", "messages[1:]", self.value("list", 1)])
        condition = f" if {self.value('truth', 1)}" if self.random.random() < 0.2 else ""
        leave = self.tag(f"if {self.value('truth', 1)}") + self.tag(self.pick(["break", "continue"])) + self.tag("endif")
        body = self.body(depth - 1) + (leave if self.random.random() < 0.3 else "")
        return self.tag(f"for m in {over}{condition}") + body + self.tag("endfor")

    def body(self, depth: int) -> str:
        """Some pieces."""
        return "".join(self.piece(depth) for _ in range(1 + self.random.randrange(3)))

    def draw(self) -> str:
        """A whole template."""
        begin = "{% set s = namespace(t='', n=2) %}{% set x = 'x' %}"
        return begin + self.tag("for m in messages") + self.body(2) + self.tag("endfor") + self.body(1)
