"""What a request is refused with: the status codes of gRPC, in which TensorFlow Serving thinks at each of its doors."""

# As TensorFlow Serving's HTTP server has them (tensorflow_serving/model_servers/http_server.cc).
HTTP_STATUS = {
    "CANCELLED": 499,
    "UNKNOWN": 500,
    "INVALID_ARGUMENT": 400,
    "DEADLINE_EXCEEDED": 504,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "PERMISSION_DENIED": 403,
    "RESOURCE_EXHAUSTED": 429,
    "FAILED_PRECONDITION": 400,
    "ABORTED": 409,
    "OUT_OF_RANGE": 400,
    "UNIMPLEMENTED": 501,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DATA_LOSS": 500,
    "UNAUTHENTICATED": 401,
}

# Letters of a message, of which part can be the client's own.
LONGEST = 300


class RefusedError(Exception):
    """Why a request is not answered with a result.

    Args:
        code: A key of `HTTP_STATUS`, which are gRPC's names.
        message: What is wrong with what, and what to do; for the client. A longer one than `LONGEST` is cut.
        status: Of the HTTP reply, where HTTP has one that says more than the code's own.
    """

    def __init__(self, code: str, message: str, status: int | None = None) -> None:
        message = message if len(message) <= LONGEST else f"{message[: LONGEST - 1]}…"
        super().__init__(message)
        self.code, self.message, self.status = code, message, status or HTTP_STATUS[code]


def invalid(message: str) -> RefusedError:
    """A request that is wrong in itself."""
    return RefusedError("INVALID_ARGUMENT", message)
