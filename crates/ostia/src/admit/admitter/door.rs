//! Routes that are open to everybody.

use std::net::IpAddr;
use std::sync::Arc;

use ostia_core::{Ask, Claim, Cost, Measure, Scope, Subject};

use super::super::Refused;
use super::Admitter;
use crate::settings::{Limits, OwnLimit};

impl Admitter {
    /// Admits a request for a route that is open to everybody, at the rate of one user.
    pub fn open(&self, address: IpAddr, limits: &Limits) -> Result<(), Refused> {
        let most = limits.of(OwnLimit::RequestsPerSecond);
        if most == 0 || address.is_loopback() {
            return Ok(());
        }
        let claim = Claim {
            scope: Scope::Address,
            measure: Measure::Requests,
            subject: Subject::One(network(address).into()),
            most,
        };
        let ask = Ask {
            claims: vec![claim],
            cost: Cost::default(),
            turn: None,
        };
        let mut grant = Arc::clone(&self.0.doors).grant(&ask)?;
        grant.hold.sent();
        Ok(())
    }
}

/// The network whose requests are counted together: an IPv4 address, or the /64 that one IPv6 host has.
fn network(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
    }
}
