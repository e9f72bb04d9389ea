//! Who may change something, and the body of such a request.
//!
//! Invariant: a handler that changes something takes an [`Operator`], which exists only for a request that
//! shows the token of the node's data folder.

use super::{front::Front, refused::Refused};
use crate::{peer::Context, store::token};
use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Request},
    http::{StatusCode, header::AUTHORIZATION, request::Parts},
    response::{IntoResponse as _, Response},
};
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// The node, for a request that may change something.
pub(super) struct Operator(pub(super) Context);

impl FromRequestParts<Arc<Front>> for Operator {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, front: &Arc<Front>) -> Result<Self, Refused> {
        let handles = front.handles()?;
        let header = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        if token::allows(&handles.token, header) {
            return Ok(Self(Arc::clone(&handles.node)));
        }
        let why = format!(
            "not allowed: send `authorization: Bearer` and what the data folder's file {:?} holds",
            token::TOKEN_FILE
        );
        Err(Refused(StatusCode::UNAUTHORIZED, why))
    }
}

/// The body of a request, read as JSON whatever its content type is.
pub(super) struct Order<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Arc<Front>> for Order<T> {
    type Rejection = Response;

    async fn from_request(request: Request, front: &Arc<Front>) -> Result<Self, Response> {
        let body = Bytes::from_request(request, front).await.map_err(|error| error.into_response())?;
        let order = serde_json::from_slice(&body).map_err(Refused::bad_request);
        order.map(Self).map_err(|refused| refused.into_response())
    }
}
