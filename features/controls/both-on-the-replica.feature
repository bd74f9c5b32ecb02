@control @database @gate
Feature: Control: a plan for another database that does not refuse

  Both names of the plan lead to the replica. Its pre-check asks for the name of the database and for the role, which
  are the same there, and does not stop it.

  Background:
    Given the service "shop" with 100000 orders
    And a streaming replica and a logical replica
    And 30 journeys per second by 30 users

  Scenario: The pre-check lets the wrong database pass
    When release "v2" is deployed over "v1"
    Then nobody is harmed
    When it is rolled back by the plan "both-on-the-replica"
    Then the plan refuses because "database"
    And the drill fails because "the plan refused and changed nothing"
