-- +goose NO TRANSACTION
-- +goose Up
create index concurrently orders_status on orders (status, id desc);

-- +goose Down
drop index concurrently orders_status;
