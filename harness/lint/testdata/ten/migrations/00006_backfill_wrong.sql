-- +goose Up
SET lock_timeout = '5s';
ALTER TABLE orders ADD COLUMN currency text;
UPDATE orders SET currency = 'EUR';
ALTER TABLE orders ALTER COLUMN currency SET NOT NULL;
CREATE INDEX CONCURRENTLY orders_currency ON orders (currency);

-- +goose Down
SET lock_timeout = '5s';
ALTER TABLE orders DROP COLUMN currency;
