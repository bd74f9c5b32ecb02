@database @critical @gate
Feature: Rolling back a migration at volume

  v2-moves-refunds moves refunds into the table of orders. The way back goes through that whole table, which everybody
  reads. It must be quick about it, and bring back the rows, their numbers, and the sequence.

  Background:
    Given the service "shop" with 100000 orders
    And a streaming replica
    And 30 journeys per second by 30 users

  Scenario: The plan moves the refunds back in one go
    When release "v2-moves-refunds" is deployed over "v1"
    Then the trap is there
    When it is rolled back by its plan
    Then service is restored within 15 seconds
    And every acknowledged order exists exactly once
    And every node has the schema and the data of before
    And billing still reads shop's orders
