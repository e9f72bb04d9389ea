//! Answers that are errors: a status code and an [`ErrorBody`].

use crate::api::ErrorBody;
use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use raft::ProposeError;

/// Why a request is refused, as a status code and a sentence for people.
#[derive(Debug)]
pub(super) struct Refused(pub(super) StatusCode, pub(super) String);

impl Refused {
    pub(super) fn bad_request(why: impl ToString) -> Self {
        Self(StatusCode::BAD_REQUEST, why.to_string())
    }

    pub(super) fn internal(why: impl ToString) -> Self {
        Self(StatusCode::INTERNAL_SERVER_ERROR, why.to_string())
    }
}

/// The cluster refused what an operator wants, or it cannot decide now.
impl From<ProposeError> for Refused {
    fn from(error: ProposeError) -> Self {
        match error {
            ProposeError::Refused(reason) => Self(StatusCode::CONFLICT, reason.to_string()),
            error @ (ProposeError::NoLeader | ProposeError::Timeout | ProposeError::Stopped(_)) => {
                Self(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
            }
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, Json(ErrorBody { error: self.1 })).into_response()
    }
}
