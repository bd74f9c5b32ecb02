-- +goose Up
DROP TABLE currencies;
VACUUM FULL orders;
