@control @database @gate
Feature: Control: a rollback that leaves a sequence behind

  The rows come back with their numbers, and the sequence begins at 1 as a new one does. The next refund gets a number
  that is taken.

  Background:
    Given the service "shop" with 100000 orders
    And a streaming replica
    And 30 journeys per second by 30 users

  Scenario: The sequence is behind its column
    When release "v2-moves-refunds" is deployed over "v1"
    Then the trap is there
    When it is rolled back by the plan "leaves-the-sequence"
    Then the drill fails because "every sequence is ahead of its column"
