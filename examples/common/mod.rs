//! What the examples share: waiting for what must come.

use std::error::Error;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::timeout;

/// More than anything in an example takes.
const LIMIT: Duration = Duration::from_secs(10);

/// The next thing, or an error when it is missing.
pub(crate) async fn next<T>(from: &mut UnboundedReceiver<T>) -> Result<T, Box<dyn Error>> {
    let next = timeout(LIMIT, from.recv()).await.map_err(|_| format!("nothing came for {LIMIT:?}"))?;
    next.ok_or_else(|| "nothing can come any more".into())
}
