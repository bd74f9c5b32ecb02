@control @database @gate
Feature: Control: a column that is dropped by hand

  The column goes by psql, which is quicker than the tool. The tool still believes that its migration is applied, and
  will not bring the column when the release comes again.

  Background:
    Given the service "shop" with 100000 orders
    And a streaming replica and a logical replica
    And 30 journeys per second by 30 users

  Scenario: The record of the migration stays
    When release "v2" is deployed over "v1"
    Then nobody is harmed
    When it is rolled back by the plan "by-hand"
    Then the drill fails because "the recorded migrations match the schema"
