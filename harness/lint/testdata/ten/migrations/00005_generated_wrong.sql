-- +goose Up
ALTER TABLE customers DROP COLUMN nickname;
ALTER TABLE orders ALTER COLUMN id TYPE bigint;
ALTER TABLE orders ADD CONSTRAINT orders_customer FOREIGN KEY (customer_id) REFERENCES customers (id);

-- +goose Down
ALTER TABLE orders DROP CONSTRAINT orders_customer;
ALTER TABLE orders ALTER COLUMN id TYPE integer;
ALTER TABLE customers ADD COLUMN nickname text;
