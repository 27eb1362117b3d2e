fn main() {
    // The macro that embeds the migrations does not see new files by itself.
    println!("cargo::rerun-if-changed=migrations");
}
