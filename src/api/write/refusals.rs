//! Why a change is not made, as answers.

use crate::api::reply::Reply;
use crate::certificate::SetError;
use crate::server_name::ServerName;

/// What cannot be read at all is 400; what is PEM and no set is 422.
pub(super) fn bad_body(error: SetError) -> Reply {
    let is_no_pem = matches!(
        error,
        SetError::Empty
            | SetError::NotPem
            | SetError::Der
            | SetError::Truncated
            | SetError::Encoding
            | SetError::Certificate(_)
            | SetError::Key(_)
    );
    if is_no_pem {
        Reply::problem(400, "the body is not PEM", &error.to_string())
    } else {
        unusable(&error.to_string())
    }
}

/// The answer to a set that cannot serve.
pub(super) fn unusable(reason: &str) -> Reply {
    Reply::problem(422, "the certificate cannot be used", reason)
}

/// The answer to a call that needs one.
pub(super) fn no_previous(name: &ServerName) -> Reply {
    let detail = format!("no previous generation of \"{name}\" is kept");
    Reply::problem(404, "no previous generation", &detail)
}

/// The answer of a worker of an earlier configuration.
pub(super) fn old_worker() -> Reply {
    Reply::try_again(
        "the worker is shutting down",
        "it belongs to a configuration before the present one; try again on another connection",
        1,
    )
}

/// The answer where this worker's zone is no longer the one in use.
pub(crate) fn superseded() -> Reply {
    Reply::try_again(
        "the zone is being replaced",
        "a reload with another size of the zone is under way; try again",
        1,
    )
}

/// The answer when other processes were writing for too long.
pub(crate) fn locked() -> Reply {
    Reply::try_again(
        "the zone is locked",
        "another process is writing, or was stopped while it was; try again",
        5,
    )
}

/// The answer where another instance of NGINX may write: while one binary takes over from another.
pub(crate) fn not_owner() -> Reply {
    Reply::try_again(
        "another NGINX has the state directory",
        "the other instance takes the writes, as while a binary is upgraded; try again",
        2,
    )
}

/// The answer to a change that is not on disk, and so was not made.
pub(crate) fn not_durable(is_out_of_room: bool) -> Reply {
    if is_out_of_room {
        let detail = "nothing was changed; make room on its file system";
        return Reply::problem(507, "the state directory is full", detail);
    }
    Reply::try_again(
        "the state directory cannot be written",
        "nothing was changed; see the error log",
        30,
    )
}

/// The answer where a change of another NAME is on disk, and has no room in the zone.
pub(crate) fn no_room_for(name: &ServerName) -> Reply {
    let detail =
        format!("\"{name}\" is in the state directory and has no room: make the zone larger");
    Reply::problem(507, "the zone is full", &detail)
}

pub(crate) fn internal_error() -> Reply {
    Reply::problem(500, "internal error", "see the error log")
}
