use http::{HeaderValue, Response, header};

use crate::dialect::Dialect;
use crate::refusal::Refusal;
use crate::relay::ClientBody;

impl Refusal {
    /// The response in the client's dialect.
    pub fn into_response(self, dialect: &dyn Dialect) -> Response<ClientBody> {
        let mut response = Response::new(ClientBody::whole(dialect.error(&self)));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        for (name, value) in self.settled().headers {
            headers.append(name, value);
        }
        response
    }
}
