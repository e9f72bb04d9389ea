//! Random games per second of every configuration: `cargo run --release -p rules --example speed -- [SECONDS]`.

use rules::Config;
use rules::playout::random_games;

fn main() {
    let seconds = std::env::args()
        .nth(1)
        .and_then(|text| text.parse().ok())
        .unwrap_or(1.0);
    for config in Config::all() {
        let speed = random_games(config, seconds);
        println!(
            "{:14} {:10.1} games/s {:12.0} steps/s",
            config.key(),
            speed.games_per_s,
            speed.steps_per_s
        );
    }
}
