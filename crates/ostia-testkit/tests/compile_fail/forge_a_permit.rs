use ostia::authorize::Permit;

fn main() {
    let _ = Permit {
        model: "m".into(),
        deployments: Vec::new(),
    };
}
