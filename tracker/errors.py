"""Everything Hindsight raises on purpose.

::

    HindsightError
    ├── InputError (ValueError)            fix what you passed
    │   ├── BadName (TypeError)            a name that is not a non-empty text, or that is reserved
    │   ├── UnstorableValue (TypeError)    a value that no column can hold
    │   │   └── Uncapturable               a part of a state that no checkpoint can hold
    │   ├── NameCollision                  a label or key that is already a loop, a step key or a run column
    │   ├── BadSetting                     a setting with an impossible value
    │   ├── BadKey                         a key that would leave the store
    │   ├── Untrusted                      a state that could run code, and nobody said that it may
    │   └── Unfitting                      a state for an object of another form
    ├── NotFound (LookupError)             it is not there
    │   ├── KeyNotFound (FileNotFoundError)
    │   ├── RunNotFound
    │   └── NameNotFound                   a metric, loop or column that no run has
    ├── Conflict                           somebody else was first
    │   └── KeyExists (FileExistsError)
    ├── Unavailable (OSError)              try again, or repair the store first
    │   ├── StoreUnavailable (ConnectionError)
    │   ├── StoreFull
    │   └── StoreReadOnly (PermissionError)
    ├── Corrupt                            the bytes are not what was written
    │   ├── DamagedJournal
    │   ├── DamagedSegment
    │   ├── DamagedObject
    │   ├── DamagedDocument
    │   └── NewerFormat                    written by a newer version; upgrade to read it
    ├── MissingExtra (ImportError)         an optional package is needed
    ├── CodeError (RuntimeError)           git or the work tree refused
    └── Bug (RuntimeError)                 our fault; please report it

A message says what happened, with which value, what was expected and what to do next.
"""

from __future__ import annotations


class HindsightError(Exception):
    """Base of every error that Hindsight raises on purpose."""

    def __str__(self) -> str:
        # KeyError and OSError children would otherwise print a repr or an errno tuple.
        return str(self.args[0]) if self.args else self.__class__.__name__


class InputError(HindsightError, ValueError):
    """What was passed cannot be used as it is."""


class BadName(InputError, TypeError):
    """A name must be a non-empty text and not a reserved one."""


class UnstorableValue(InputError, TypeError):
    """A logged value has no exact stored form; nothing else was lost."""


class Uncapturable(UnstorableValue):
    """A part of a value has no stored form; nothing of the value was captured.

    ``path`` says where it stands in the value, ``type_name`` what it is.
    """

    def __init__(self, path: str, type_name: str, reason: str = "has no form without pickle") -> None:
        self.path, self.type_name, self.reason = path, type_name, reason
        super().__init__(f"{path or 'the value'} ({type_name}) cannot be captured: it {reason}")


class NameCollision(InputError):
    """A label or key has the name of something that is already in the context."""


class BadSetting(InputError):
    """A setting has a value that cannot be used."""


class BadKey(InputError):
    """A key of a store is malformed or would point outside the store."""


class Untrusted(InputError):
    """A state holds what could run code (a pickle, a class or function by name), and trust was not given."""


class Unfitting(InputError):
    """A state has to go into an object that exists, and that has another form now."""


class NotFound(HindsightError, LookupError):
    """What was asked for is not there."""


class KeyNotFound(NotFound, FileNotFoundError):
    """A store has nothing under this key."""


class RunNotFound(NotFound):
    """No run, or more than one, answers to this id."""


class NameNotFound(NotFound):
    """No run has a metric, argument or loop of this name."""


class Conflict(HindsightError):
    """Another writer was there first."""


class KeyExists(Conflict, FileExistsError):
    """A create-only put found the key taken."""


class Unavailable(HindsightError, OSError):
    """The store cannot be used at the moment."""


class StoreUnavailable(Unavailable, ConnectionError):
    """The store does not answer, or answers with errors, after all retries."""


class StoreFull(Unavailable):
    """No space is left where the bytes should go."""


class StoreReadOnly(Unavailable, PermissionError):
    """The store or its folder refuses writes or reads."""


class Corrupt(HindsightError):
    """Stored bytes are not what was written."""


class DamagedJournal(Corrupt):
    """A journal's header cannot be read."""


class DamagedSegment(Corrupt):
    """A segment is not a readable Parquet file of ours."""


class DamagedObject(Corrupt):
    """An object's bytes do not have the hash that names them."""


class DamagedDocument(Corrupt):
    """A JSON document of the store cannot be decoded."""


class NewerFormat(Corrupt):
    """The store was written in a format that this version does not know."""


class MissingExtra(HindsightError, ImportError):
    """An optional package is needed; the message names the extra that brings it."""


class CodeError(HindsightError, RuntimeError):
    """Git or the work tree refused an operation on code."""


class Bug(HindsightError, RuntimeError):
    """An invariant of ours is broken; please report it."""
