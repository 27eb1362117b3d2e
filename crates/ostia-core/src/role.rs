/// What somebody may do beyond calling models. An admin may do everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    Admin,
    /// Runs the gateway: reloads, drains, maintenance.
    Operator,
    /// Looks into what users met.
    Support,
    /// Reads usage.
    Reporter,
    /// Announces where endpoints are.
    Registrar,
}

impl Role {
    pub const ALL: [Self; 5] = [
        Self::Admin,
        Self::Operator,
        Self::Support,
        Self::Reporter,
        Self::Registrar,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Operator => "operator",
            Self::Support => "support",
            Self::Reporter => "reporter",
            Self::Registrar => "registrar",
        }
    }
}
