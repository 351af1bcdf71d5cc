//! Pages: small answers to plain HTTP requests, such as a health check or a demo.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// An answer to `GET` (and `HEAD`) of one path.
#[derive(Clone, Debug)]
pub struct Page {
    pub(crate) path: Box<str>,
    pub(crate) content_type: Box<str>,
    body: Body,
}

#[derive(Clone)]
enum Body {
    Fixed(Arc<[u8]>),
    Computed(Arc<dyn Fn() -> (u16, String) + Send + Sync>),
}

impl Page {
    /// A fixed page of `path`, which is compared as it is: no parameters, no decoding.
    pub fn new(path: &str, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let body = Body::Fixed(body.into().into());
        Self { path: path.into(), content_type: content_type.into(), body }
    }

    /// A page whose status and body are made at each request, on a shard: in microseconds, without
    /// waiting for anything.
    pub fn computed(
        path: &str,
        content_type: &str,
        make: impl Fn() -> (u16, String) + Send + Sync + 'static,
    ) -> Self {
        let body = Body::Computed(Arc::new(make));
        Self { path: path.into(), content_type: content_type.into(), body }
    }

    /// Status and body for one request.
    pub(crate) fn answer(&self) -> (u16, Cow<'_, [u8]>) {
        match &self.body {
            Body::Fixed(body) => (200, Cow::Borrowed(body)),
            Body::Computed(make) => {
                let (status, body) = make();
                (status, Cow::Owned(body.into_bytes()))
            }
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fixed(_) => "Fixed",
            Self::Computed(_) => "Computed",
        })
    }
}
