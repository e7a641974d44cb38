mod boards;
mod contract;
mod input;
mod people;
mod places;
mod random;
mod scale;
mod world;
