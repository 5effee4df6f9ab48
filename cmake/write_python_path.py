"""Writes into the installed library of the verbs where its Python package is, as CMake does with run paths.

    python3 write_python_path.py LIBRARY FOLDER SIZE

The library has the folder in a constant of SIZE bytes that begins with a mark and ends with zeros
(cmake/python_path.cpp.in). `cmake --install --prefix` says its own only after everything is built.
"""

import os
import sys

MARK = b"blockwise-python-path="


def main(library: str, folder: str, size: int) -> None:
    with open(library, "r+b") as file:
        content = file.read()
        if content.count(MARK) != 1:
            sys.exit(f"{library}: the place for the folder of the Python package is not there once")
        value = MARK + os.fsencode(os.path.abspath(folder))
        if len(value) >= size:
            sys.exit(f"{folder}: longer than {size - len(MARK) - 1} bytes")
        file.seek(content.index(MARK))
        file.write(value.ljust(size, b"\0"))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
