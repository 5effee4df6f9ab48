"""YAML that somebody else wrote: bounded in size and depth, and without aliases, of which a few
lines can stand for more nodes than fit into the memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from .input_file import TEXT_LIMIT, read_input


class _PlainLoader(yaml.SafeLoader):
    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.composer.ComposerError(None, None, "aliases are not read", event.start_mark)
        return super().compose_node(parent, index)


def read_yaml(path: Path, limit: int = TEXT_LIMIT) -> Any:
    """Raises OSError as `read_input` does, and ValueError for what is no plain YAML."""
    try:
        return yaml.load(read_input(path, limit).decode("utf-8"), Loader=_PlainLoader)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
    except RecursionError:
        raise ValueError("is nested too deep") from None
    # The constructors of dates, numbers and mappings let everything through that Python raises.
    except (ArithmeticError, AttributeError, LookupError, TypeError) as error:
        raise ValueError(f"holds a value that is none: {error}") from error
