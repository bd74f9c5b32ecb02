select :rows_orders;
