mod boards;
mod input;
mod people;
mod places;
mod random;
mod scale;
mod world;
