use async_trait::async_trait;
use ostia::backend::{AdapterError, EndpointAdapter, RequestContext};

/// Checks that the model is up, forces a whole answer or a stream as the caller asked, takes an internal field out of
/// the body, logs, and goes on to the backend.
pub struct CustomEndpoint;

#[async_trait]
impl EndpointAdapter for CustomEndpoint {
    async fn on_request(&self, ctx: &mut RequestContext<'_>) -> Result<(), AdapterError> {
        check_status(ctx).await?;
        ctx.set_field("stream", ctx.call.stream);
        ctx.remove_field("api_port");
        ctx.log(&format!(
            "calling {} (stream={})",
            ctx.deployment.model, ctx.call.stream
        ));
        Ok(())
    }
}

/// Asks the backend's `/status` page, which knows more than the cluster's.
async fn check_status(ctx: &RequestContext<'_>) -> Result<(), AdapterError> {
    let page = ctx.http().get("/status").await?.json()?;
    if page["live"].as_bool() == Some(true) {
        return Ok(());
    }
    let message = format!("'{}' is not currently live.", ctx.deployment.model);
    Err(AdapterError::refusal(503, message, "model_not_live"))
}
