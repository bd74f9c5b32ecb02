@database @critical @gate
Feature: Rolling back behind a session that is idle in a transaction

  The release leaves a session idle in a transaction, which stands in the way of every change of the table, and behind
  the change that waits for it, of every read. The plan ends such sessions first, and looks that none is left before
  it goes on.

  Background:
    Given the service "shop" with 100000 orders
    And a streaming replica
    And 30 journeys per second by 30 users

  Scenario: The plan ends the session before it changes the table
    When release "v2-leaves-a-session-open" is deployed over "v1"
    Then the trap is there
    When it is rolled back by its plan
    Then service is restored within 5 minutes
    And every acknowledged order exists exactly once
    And every node has the schema and the data of before
    And billing still reads shop's orders
    And users stay signed in
    And every job from before is done
