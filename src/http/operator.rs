//! Who may change something, and the body of such a request.
//!
//! Invariant: a handler that changes something, or costs much, takes an [`Operator`], which exists only for a
//! request that shows the token of the node's data folder.

use super::{front::Front, gate::Access, refused::Refused};
use crate::peer::Context;
use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Request},
    http::{StatusCode, request::Parts},
    response::{IntoResponse as _, Response},
};
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// The node, for a request that may change something.
pub(super) struct Operator(pub(super) Context);

impl FromRequestParts<Arc<Front>> for Operator {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, front: &Arc<Front>) -> Result<Self, Refused> {
        match parts.extensions.get::<Access>() {
            Some(Access::Operator) => Ok(Self(Arc::clone(front.node()?))),
            // The gate let it pass as one that only reads.
            Some(Access::Local | Access::Member) | None => {
                Err(Refused(StatusCode::UNAUTHORIZED, "only an operator may do this".to_owned()))
            }
        }
    }
}

/// The largest body of a request, in bytes, and the most memory that its value may take: an event of the
/// largest size as JSON fits several times.
pub(crate) const BODY_BYTES_MAX: usize = 64 << 10;

/// Reads the body of a request.
pub(crate) fn read<T: DeserializeOwned>(body: &[u8]) -> serde_json::Result<T> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let order = wire::within(BODY_BYTES_MAX, &mut json)?;
    json.end().map(|()| order)
}

/// The body of a request, read as JSON whatever its content type is.
pub(super) struct Order<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Arc<Front>> for Order<T> {
    type Rejection = Response;

    async fn from_request(request: Request, front: &Arc<Front>) -> Result<Self, Response> {
        let body = Bytes::from_request(request, front).await.map_err(|error| error.into_response())?;
        let order = read(&body).map_err(Refused::bad_request);
        order.map(Self).map_err(|refused| refused.into_response())
    }
}
