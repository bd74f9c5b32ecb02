@control @database @gate
Feature: Control: a rollback with the schema first and the code second

  The subscriber loses the column while orders that name it are still on their way. It stops applying at the first of
  them, and stays behind for ever. Shop notices nothing.

  Background:
    Given the service "shop" with 100000 orders
    And a streaming replica and a logical replica
    And 30 journeys per second by 30 users

  Scenario: The subscriber loses the column too early
    When release "v2" is deployed over "v1"
    Then nobody is harmed
    When it is rolled back by the plan "schema-first"
    Then the drill fails because "every node holds the same rows"
