"""JSON documents that are frozen dataclasses: written, and read with every key and type checked."""

import dataclasses
import json
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from alexnet import config_file
from alexnet.errors import AlexNetError, ConfigError
from alexnet.storage.store import Store

T = TypeVar("T")


def to_json(document: Any) -> str:
    """A dataclass as text, for people too; a NamedTuple in it becomes a list."""
    return json.dumps(dataclasses.asdict(document), indent=1) + "\n"


def write(store: Store, name: str, document: Any) -> None:
    """Put a dataclass into a store as JSON.

    Raises:
        StoreError: it cannot be written.
    """
    store.write(name, to_json(document).encode())


@dataclass(frozen=True, slots=True)
class Reader(Generic[T]):
    """Reads one kind of document."""

    kind: type[T]
    """A dataclass."""
    error: type[AlexNetError]
    """Raised for a document that is damaged or of another release."""
    advice: str
    """What to do with one that is damaged; ends the message."""
    fixed: tuple[str, ...] = ("schema",)
    """Fields that say of which kind or release a document is: only their defaults are read."""

    def read(self, store: Store, name: str) -> T:
        """A document in a store.

        Raises:
            AlexNetError: `error`, if it is damaged or of another release.
            StoreError: there is none, or the store cannot be reached.
        """
        return self.parse(store.read(name), f"{store.url}/{name}")

    def parse(self, text: bytes | str, where: str) -> T:
        """A document from its text; `where` begins the message of an error."""
        return self.build(self.tree(text, where), where)

    def tree(self, text: bytes | str, where: str) -> dict[str, Any]:
        """The keys and values of a document of the right schema."""
        try:
            tree = json.loads(text)
        except ValueError as error:
            raise self.damaged(where, str(error)) from error
        if not isinstance(tree, dict):
            raise self.damaged(where, f"must be keys with values, not {type(tree).__name__}")
        for each in dataclasses.fields(cast(Any, self.kind)):
            if each.name not in self.fixed:
                continue
            if each.name not in tree:
                raise self.damaged(where, f"{each.name}: missing")
            if tree[each.name] != each.default:
                raise self.error(
                    f"{where}: {each.name} {tree[each.name]!r}; this code reads {each.default!r}. "
                    "Use the release that wrote it."
                )
        return tree

    def build(self, tree: dict[str, Any], where: str) -> T:
        """The document of its keys and values."""
        try:
            return config_file.build(self.kind, tree, from_json=True)
        except ConfigError as error:
            raise self.damaged(where, str(error)) from error

    def damaged(self, where: str, why: str) -> AlexNetError:
        """The error of a document that is not as it was written."""
        return self.error(f"{where}: damaged: {why.rstrip('.')}. {self.advice}")
