@control @database @gate
Feature: Control: a rollback that asks the table of versions what is there

  The migration failed, so it is not recorded; so there is nothing to take back, says the tool. The column stands.

  Background:
    Given the service "shop" with 100000 orders
    And a streaming replica
    And 30 journeys per second by 30 users

  Scenario: The tool finds nothing to take back
    When release "v2-stops-half-way" is deployed over "v1"
    Then the trap is there
    When it is rolled back by the plan "trusts-the-version"
    Then the drill fails because "every node has the schema of before"
