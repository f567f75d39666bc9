"""What to do about an error of the operating system, such as a full disk or too many open files.

A file that cannot be read is not a damaged file: its content may be fine, so it is never removed or written again
because of such an error. The message says what the system said, and the remedy fits it:

    explain(OSError(errno.EMFILE, "Too many open files"))
    # ("Too many open files", "allow more open files (ulimit -n), or train fewer segments at once")
"""

import errno

_NETWORK = "check the connection to the network disk"
_DISK = "check the disk; the system's log says more"
_PERMISSION = "change the permissions of the file, or of a folder above it"
_SPACE = "free some space"

_REMEDIES = {
    errno.EMFILE: "allow more open files (ulimit -n), or train fewer segments at once",
    errno.ENFILE: "close other programs: the whole machine has too many open files",
    errno.EACCES: _PERMISSION,
    errno.EPERM: _PERMISSION,
    errno.EIO: _DISK,
    errno.ENXIO: _DISK,
    errno.ENODEV: _DISK,
    errno.ESTALE: "the file was replaced, or the network disk mounted again: repeat the command",
    errno.ETIMEDOUT: _NETWORK,
    errno.ENOTCONN: _NETWORK,
    errno.ECONNRESET: _NETWORK,
    errno.EHOSTDOWN: _NETWORK,
    errno.EHOSTUNREACH: _NETWORK,
    errno.ENETUNREACH: _NETWORK,
    errno.ENOSPC: _SPACE,
    errno.EDQUOT: "free some space, or ask for a larger quota",
    errno.EFBIG: "allow larger files (ulimit -f)",
    errno.EROFS: "use a folder on a disk that can be written",
    errno.ENOMEM: "free some memory",
    errno.ENAMETOOLONG: "use a shorter path",
    errno.ELOOP: "a link leads to itself; put the file itself there",
    errno.ENOENT: "put the file back",
    errno.ENOTDIR: "check the path: a folder of it is a file",
}


def explain(error: OSError) -> tuple[str, str]:
    """What the system said, and a remedy; the remedy is empty for an error that is not listed here."""
    names = (error.strerror, str(error), type(error).__name__)
    remedy = "" if error.errno is None else _REMEDIES.get(error.errno, "")
    return next(filter(None, names)), remedy
