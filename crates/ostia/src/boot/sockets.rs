use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use super::handover::Handed;
use super::running::shown_address;
use super::{Sockets, StartError};
use crate::listen::Listener;
use crate::settings::{ListenAddress, Server};

/// The public listener and the admin one. Uses sockets that were passed to this process, and binds the others.
pub(super) async fn open(
    sockets: &mut Sockets,
    server: &Server,
) -> Result<(Listener, Listener), StartError> {
    let (public, admin) = match sockets {
        Sockets::Bind => (None, None),
        Sockets::Given(given) => {
            let mut given = std::mem::take(given).into_iter();
            let mut next = || given.next().map(|socket| (socket, None));
            (next(), next())
        }
        // A socket for an address that is no longer configured is useless.
        Sockets::Inherited(predecessor) => {
            let fits = |handed: Option<Handed>, address: &ListenAddress| {
                let handed =
                    handed.filter(|handed| handed.address == shown_address(address, None))?;
                Some((handed.socket, file_of(address)))
            };
            let public = fits(predecessor.public.take(), &server.listen);
            (public, fits(predecessor.admin.take(), &server.admin_listen))
        }
    };
    Ok((
        listener(public, &server.listen).await?,
        listener(admin, &server.admin_listen).await?,
    ))
}

/// A duplicate of a listener's socket, for the next process.
pub(super) fn shared(listener: &Listener, address: &ListenAddress) -> Result<Handed, StartError> {
    let socket = listener.share().map_err(|error| failed(address, error))?;
    Ok(Handed {
        address: shown_address(address, None),
        socket,
    })
}

async fn listener(
    handed: Option<(OwnedFd, Option<PathBuf>)>,
    address: &ListenAddress,
) -> Result<Listener, StartError> {
    let made = match handed {
        Some((socket, file)) => Listener::adopt(socket, file),
        None => Listener::bind(address).await,
    };
    made.map_err(|error| failed(address, error))
}

fn file_of(address: &ListenAddress) -> Option<PathBuf> {
    match address {
        ListenAddress::Unix(path) => Some(path.clone()),
        ListenAddress::Tcp(_) => None,
    }
}

fn failed(address: &ListenAddress, source: io::Error) -> StartError {
    StartError::Listen {
        address: shown_address(address, None),
        source,
    }
}
