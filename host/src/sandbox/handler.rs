//! `wasi:http/outgoing-handler` as wasmtime has it, but for a leak: wasmtime 48 is given the options of a request
//! and never lets go of them, so that each request costs one of the component's handles for good.

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi_http::p2::HttpResult;
use wasmtime_wasi_http::p2::bindings::http::outgoing_handler::Host as _;
use wasmtime_wasi_http::p2::types::{HostFutureIncomingResponse, HostOutgoingRequest};
use wasmtime_wasi_http::{RequestOptions, WasiHttpCtxView, WasiHttpView};

type Request = Resource<HostOutgoingRequest>;
type Options = Option<Resource<RequestOptions>>;

/// Adds the interface to `linker`.
///
/// # Errors
/// It is there already.
pub fn add_to_linker<T: WasiHttpView + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    let mut interface = linker.instance("wasi:http/outgoing-handler@0.2.12")?;
    interface.func_wrap("handle", |mut store: StoreContextMut<'_, T>, (request, options): (Request, Options)| {
        match handle(&mut store.data_mut().http(), request, options) {
            Ok(answer) => Ok((Ok(answer),)),
            // An error of the component's, or a reason to end it.
            Err(error) => Ok((Err(error.downcast()?),)),
        }
    })
}

/// Hands a request to wasmtime, and drops its options afterwards.
fn handle(
    view: &mut WasiHttpCtxView<'_>,
    request: Request,
    options: Options,
) -> HttpResult<Resource<HostFutureIncomingResponse>> {
    let lent = options.as_ref().map(|options| Resource::new_own(options.rep()));
    let answer = view.handle(request, lent);
    if let Some(options) = options {
        view.table.delete(options)?;
    }
    answer
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use qdrant_backup_contract::settings::LogFormat;
    use wasmtime::component::ResourceTable;
    use wasmtime_wasi_http::WasiHttpCtx;
    use wasmtime_wasi_http::p2::bindings::http::types::{self, HostOutgoingRequest as _, Scheme};

    use super::*;
    use crate::client::Client;
    use crate::egress::AllowList;
    use crate::io::Io;
    use crate::messages::Messages;
    use crate::sandbox::network::Network;

    #[tokio::test]
    async fn a_request_leaves_no_handle_behind() {
        let messages = Arc::new(Messages::new(Io::capture().0, LogFormat::Text));
        let mut network = Network::new(Client::new(None, AllowList::default(), None), AllowList::default(), messages);
        let (mut table, mut http) = (ResourceTable::new(), WasiHttpCtx::new());
        table.set_max_capacity(8);
        for _ in 0..100 {
            let mut view = WasiHttpCtxView { hooks: &mut network, table: &mut table, ctx: &mut http };
            let fields = types::HostFields::new(&mut view).unwrap();
            let request = types::HostOutgoingRequest::new(&mut view, fields).unwrap();
            view.set_scheme(Resource::new_own(request.rep()), Some(Scheme::Http)).unwrap().unwrap();
            view.set_authority(Resource::new_own(request.rep()), Some("denied".to_owned())).unwrap().unwrap();
            view.set_path_with_query(Resource::new_own(request.rep()), Some("/".to_owned())).unwrap().unwrap();
            let options = types::HostRequestOptions::new(&mut view).unwrap();
            let answer = handle(&mut view, request, Some(options)).unwrap();
            types::HostFutureIncomingResponse::drop(&mut view, answer).unwrap();
        }
    }
}
